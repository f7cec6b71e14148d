"""The loss on hidden patches, on numbers that can be worked out by hand (parity: tests/systems/test_mae.py)."""

from types import SimpleNamespace

import pytest
import torch

from sensorium.objectives.masked_patches import EPSILON, MaskedPatches, normed

PATCHES = torch.tensor([[[0.0, 2.0], [5.0, 5.0], [1.0, 3.0]]])  # one picture, three patches of two numbers


def made(predicted: list[list[float]], hidden: list[int]):
    return SimpleNamespace(
        predicted=torch.tensor([predicted]), patches=PATCHES, hidden=torch.tensor([hidden])
    )


def test_only_hidden_patches_count_in_the_order_given():
    plain = MaskedPatches(normed=False)
    assert plain.loss(made([[1.0, 3.0], [0.0, 2.0]], [2, 0])).item() == 0
    assert plain.loss(made([[1.0, 3.0], [0.0, 0.0]], [2, 0])).item() == pytest.approx(4 / 4)
    found = plain(lambda batch: batch, made([[0.0, 2.0]], [0]))
    assert {name: loss.item() for name, loss in found.items()} == {"masked_patches": 0}


def test_normed_targets_have_mean_nought_and_variance_one_and_flat_patches_are_zeros():
    target, mean, spread = normed(PATCHES)
    half = 2**-0.5
    assert torch.allclose(target[0, [0, 2]], torch.tensor([[-half, half]] * 2), atol=1e-5)
    assert target[0, 1].tolist() == [0, 0]
    assert mean[0, :, 0].tolist() == [1, 5, 2]
    assert spread[0, :, 0].tolist() == pytest.approx(
        [(2 + EPSILON) ** 0.5, EPSILON**0.5, (2 + EPSILON) ** 0.5]
    )
    assert MaskedPatches().loss(made([[-half, half]], [0])).item() == pytest.approx(0, abs=1e-9)
    assert MaskedPatches().loss(made([[half, -half]], [0])).item() == pytest.approx(2, rel=1e-5)
