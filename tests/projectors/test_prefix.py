"""The prefix: one vector becomes a few tokens."""

import pytest
import torch
from torch import nn

from sensorium.features import Features
from sensorium.projectors import PrefixProjector


def test_tokens_are_slices_of_one_affine_map():
    torch.manual_seed(0)
    prefix = PrefixProjector(nn.Linear(5, 6), 3)
    mean, matrix, offset = torch.randn(5), torch.randn(5, 6), torch.randn(6)
    prefix.start(mean, matrix, offset)
    x = torch.randn(2, 5)
    made = prefix(Features.from_pooled(x))
    assert made.tokens.shape == (2, 3, 2)
    assert torch.allclose(made.tokens.flatten(1), (x - mean) @ matrix + offset, atol=1e-6)
    assert torch.allclose(made.pooled, made.tokens.mean(1))
    assert made.mask.all()


def test_a_missing_picture_stays_missing():
    features = Features(torch.ones(2, 1, 5), torch.tensor([[True], [False]]), torch.ones(2, 5))
    made = PrefixProjector(nn.Linear(5, 6), 3)(features)
    assert made.mask.tolist() == [[True] * 3, [False] * 3]
    assert (made.tokens[1] == 0).all()


def test_a_width_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of the length"):
        PrefixProjector(nn.Linear(5, 7), 3)
