"""Modulation by one column, by hand and at its start."""

import pytest
import torch
from three_columns import HERE, NAMES, WIDTH, drawn, everywhere, pooled_of

from sensorium.fusion import Concatenation, Film


def test_it_starts_as_concatenation_and_is_that_without_the_conditioner():
    torch.manual_seed(0)
    fusion, features = Film(NAMES, WIDTH), drawn()
    plain = Concatenation(NAMES, WIDTH)
    plain.layers.load_state_dict(fusion.layers.state_dict())

    def both(here):
        return (of(features, here).branches["fused"].pooled for of in (fusion, plain))

    torch.testing.assert_close(*both(HERE))
    with torch.no_grad():
        for linear in fusion.modulation.values():
            torch.nn.init.normal_(linear.weight)
            torch.nn.init.normal_(linear.bias)
    one, other = both(HERE)
    differs = (one - other).abs().amax(1) > 1e-6
    assert torch.equal(differs, HERE["text"] & (HERE["image"] | HERE["audio"]))


def test_scale_and_shift_by_hand():
    fusion = Film(("image", "text"), 1, by="text")
    fusion.layers = torch.nn.Identity()
    with torch.no_grad():
        fusion.modulation["image"].weight.copy_(torch.tensor([[2.0], [3.0]]))
        fusion.modulation["image"].bias.copy_(torch.tensor([0.5, 0.25]))
    features = pooled_of([[10.0]], [[4.0]])
    found = fusion(features, everywhere(features)).branches["fused"].pooled
    assert found.tolist() == [[(1 + 8.5) * 10 + 12.25, 4.0]]


def test_who_modulates():
    assert Film(NAMES, WIDTH).by == "text"
    assert Film(("image", "audio"), WIDTH).by == "audio"
    assert Film(NAMES, WIDTH, by="image").others == ("text", "audio")
    with pytest.raises(ValueError, match="by: got 'smell'; expected one of the columns image, text, audio"):
        Film(NAMES, WIDTH, by="smell")
