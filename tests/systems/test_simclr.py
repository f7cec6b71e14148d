"""SimCLR: two views go through one encoder in one pass; what is kept is the encoder."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from sensorium.models.view_contrast import ViewContrast
from sensorium.systems.simclr import VIEWS, simclr


def batch_of(first: torch.Tensor, second: torch.Tensor):
    return SimpleNamespace(
        columns={name: SimpleNamespace(inputs={"pixels": x}) for name, x in zip(VIEWS, (first, second))}
    )


@pytest.mark.parametrize("size", ["tiny", "ViT-B/32"])
def test_vectors_are_the_heads_of_the_pooled_features_of_both_views_at_once(size, pictures, monkeypatch):
    if size != "tiny":  # the same code with a ViT, at a size that is quick
        monkeypatch.setattr(
            "sensorium.systems.simclr.vit.SIZES",
            {size: SimpleNamespace(pixels=64, patch=16, width=64, layers=1)},
        )
    model = simclr(size, width=16)
    first = model.encoder.prepare(pictures)["pixels"]
    second = first.flip(-1)
    with torch.no_grad():
        made = model.train()(batch_of(first, second))
        both = model.encoder({"pixels": torch.cat([first, second])}).pooled
        assert both.shape == (6, model.encoder.width)
        expected = F.normalize(model.head(both), dim=-1)
    assert torch.allclose(torch.cat([made.first, made.second]), expected, atol=1e-6)
    assert torch.allclose(made.first.norm(dim=-1), torch.ones(3))
    assert model.by_column == dict.fromkeys(VIEWS, model.encoder)


def test_what_cannot_be_is_said(pictures):
    with pytest.raises(ValueError, match="no size 'huge'; there are: tiny, ResNet-50, ViT-B/32"):
        simclr("huge")
    model = simclr("tiny")
    pixels = model.encoder.prepare(pictures)["pixels"]
    with pytest.raises(ValueError, match="got 3 first and 2 second views"):
        model(batch_of(pixels, pixels[:2]))
    with pytest.raises(ValueError, match="expected two"):
        ViewContrast(model.encoder, model.head, ["one", "one"])
