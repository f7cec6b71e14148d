"""Heads: Features -> Features of another width."""

import torch
from torch import nn

from sensorium.features import Features
from sensorium.objectives.canonical_correlation import align
from sensorium.projectors import CanonicalHead, LinearHead, MlpHead


def test_a_linear_head_starts_as_the_closed_form():
    torch.manual_seed(0)
    features = {"picture": torch.randn(50, 8), "caption": torch.randn(50, 6)}
    alignment = align(features, rank=3)
    head = LinearHead(alignment.linear("picture"))
    out = head(Features.from_pooled(features["picture"]))
    torch.testing.assert_close(out.pooled, alignment.maps["picture"](features["picture"]))
    assert (head.width, out.tokens.shape) == (3, (50, 1, 3))


def test_only_the_pooled_vector_counts():
    torch.manual_seed(0)
    head = LinearHead(nn.Linear(5, 3))
    pooled = torch.randn(2, 5)
    features = Features(torch.randn(2, 7, 5), torch.ones(2, 7, dtype=torch.bool), pooled)
    assert torch.equal(head(features).pooled, head(Features.from_pooled(pooled)).pooled)


def test_an_mlp_head_is_its_layers():
    torch.manual_seed(0)
    lift, lower = nn.Linear(5, 7), nn.Linear(7, 3)
    head = MlpHead(lift, lower, activation=nn.ReLU())
    pooled = torch.randn(4, 5)
    expected = (pooled @ lift.weight.T + lift.bias).clamp(min=0) @ lower.weight.T + lower.bias
    torch.testing.assert_close(head(Features.from_pooled(pooled)).pooled, expected)
    assert head.width == 3


def test_an_mlp_head_beside_an_affine_map_starts_as_that_map():
    torch.manual_seed(0)
    skip = nn.Linear(5, 3)
    head = MlpHead(nn.Linear(5, 7), nn.Linear(7, 3), skip=skip, dropout=0.5)
    pooled = torch.randn(4, 5)
    torch.testing.assert_close(head(Features.from_pooled(pooled)).pooled, skip(pooled))
    head(Features.from_pooled(pooled)).pooled.sum().backward()
    assert head.lower.weight.grad.abs().max() > 0  # and it can leave it


def test_a_canonical_head_starts_as_the_closed_form_and_trains_its_mixing_only():
    torch.manual_seed(0)
    features = {"picture": torch.randn(50, 8), "caption": torch.randn(50, 6)}
    whitened = align(features, rank=3, power=0.0)
    weighted = align(features, rank=3, power=1.0)
    affine = whitened.maps["picture"]
    head = CanonicalHead(8, 3)
    head.start(affine.mean, affine.matrix, whitened.correlations)
    found = head(Features.from_pooled(features["picture"])).pooled
    torch.testing.assert_close(found, weighted.maps["picture"](features["picture"]), atol=1e-5, rtol=1e-4)
    assert [name for name, p in head.named_parameters() if p.requires_grad] == ["mix.weight"]
