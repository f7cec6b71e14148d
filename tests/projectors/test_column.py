"""From an encoder's width to a fusion's."""

import torch
import torch.nn.functional as F

from sensorium.features import Features
from sensorium.projectors.column import ColumnProjector


def features() -> Features:
    torch.manual_seed(0)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    return Features(torch.randn(2, 3, 5) * mask[..., None], mask, torch.randn(2, 5))


def test_tokens_and_the_pooled_vector_go_through_the_same_layers():
    projector, given = ColumnProjector(5, 4), features()
    out = projector(given)

    def by_hand(x: torch.Tensor) -> torch.Tensor:
        normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        return F.gelu(normed @ projector.linear.weight.T + projector.linear.bias)

    torch.testing.assert_close(out.pooled, by_hand(given.pooled))
    torch.testing.assert_close(out.tokens, by_hand(given.tokens) * given.mask[..., None])
    assert torch.equal(out.mask, given.mask)
    assert (projector.width, projector.length_of(7)) == (4, 7)


def test_what_stands_behind_the_mask_reaches_nothing():
    projector, given = ColumnProjector(5, 4), features()
    dirty = given.tokens.clone()
    dirty[~given.mask] = float("nan")
    out, clean = projector(Features(dirty, given.mask, given.pooled)), projector(given)
    assert torch.equal(out.tokens, clean.tokens)
    out.tokens.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in projector.parameters())


def test_the_scale_of_an_encoder_does_not_matter():
    projector, given = ColumnProjector(5, 4), features()
    louder = Features(1000 * given.tokens, given.mask, 1000 * given.pooled)
    torch.testing.assert_close(projector(louder).pooled, projector(given).pooled, atol=1e-4, rtol=1e-4)


def test_a_pooled_vector_that_is_its_own_token_is_mapped_once():
    """Also under dropout both are then the same vector."""
    torch.manual_seed(0)
    projector = ColumnProjector(5, 64, dropout=0.5)
    out = projector(Features.from_pooled(torch.randn(3, 5)))
    assert torch.equal(out.tokens[:, 0], out.pooled)
    assert (out.pooled == 0).any()
    projector.eval()
    separate = torch.randn(3, 5)
    apart = projector(Features(separate[:, None].clone(), torch.ones(3, 1, dtype=torch.bool), separate))
    torch.testing.assert_close(apart.tokens[:, 0], apart.pooled)
