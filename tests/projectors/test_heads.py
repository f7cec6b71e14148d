"""Heads: Features -> Features of another width."""

import pytest
import torch
from torch import nn

from sensorium.features import Features
from sensorium.objectives.canonical_correlation import align
from sensorium.projectors import CanonicalHead, LinearHead, MlpHead
from sensorium.projectors.canonical import Recall


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


def test_coordinates_are_dropped_in_training_only():
    torch.manual_seed(0)
    head = CanonicalHead(2, 2, dropout=0.5)
    head.start(torch.zeros(2), torch.eye(2), torch.ones(2))
    ones = Features.from_pooled(torch.ones(1000, 2))
    assert set(head(ones).pooled.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(head.eval()(ones).pooled, ones.pooled)


def recalling(share: float, sharpness: float) -> CanonicalHead:
    """A head whose closed form is the plane itself, first axis twice as heavy."""
    head = CanonicalHead(2, 2, Recall(3, 2, share, sharpness))
    head.start(torch.zeros(2), torch.eye(2), torch.tensor([2.0, 1.0]))
    return head.eval()


def test_a_head_adds_what_it_remembers_of_the_nearest_example():
    head = recalling(share=0.5, sharpness=1000.0)
    keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    values = torch.tensor([[0.0, 1.0], [-1.0, 0.0], [5.0, 5.0]])
    head.recall.remember(keys, values, torch.tensor([2.0, 1.0]))
    pooled = torch.tensor([[3.0, 0.0], [0.1, 4.0]])
    closed_form = torch.nn.functional.normalize(pooled * torch.tensor([2.0, 1.0]), dim=1)
    expected = closed_form + 0.5 * values[:2]
    torch.testing.assert_close(head(Features.from_pooled(pooled)).pooled, expected)


def test_recalled_examples_are_weighed_by_a_softmax_of_their_cosines():
    head = recalling(share=1.0, sharpness=2.0)
    values = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    head.recall.remember(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), values, torch.ones(2))
    e = torch.tensor([2.0, 0.0, -2.0]).exp()  # the cosines of (7, 0) with the keys are 1, 0, -1
    torch.testing.assert_close(head.recall(torch.tensor([[7.0, 0.0]])), (e / e.sum())[None, :2])


def test_nothing_is_recalled_in_training_nor_before_there_is_a_memory():
    head = recalling(share=0.5, sharpness=10.0)
    features = Features.from_pooled(torch.tensor([[3.0, 4.0]]))
    empty = head(features).pooled
    torch.testing.assert_close(empty, torch.nn.functional.normalize(torch.tensor([[6.0, 4.0]]), dim=1))
    head.recall.remember(torch.eye(3, 2), torch.ones(3, 2), torch.ones(2))
    torch.testing.assert_close(head.train()(features).pooled, torch.tensor([[6.0, 4.0]]))
    assert (head.eval()(features).pooled > empty).all()


def test_a_memory_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"keys: got \(4, 2\), built for \(3, 2\)"):
        recalling(0.5, 10.0).recall.remember(torch.ones(4, 2), torch.ones(3, 2), torch.ones(2))
