"""NT-Xent against equation 1 written out, and against its least value."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from sensorium.objectives.nt_xent import NTXent


def written_out(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    """Chen et al. 2020, equation 1, one view after the other."""
    views = torch.cat([first, second]).double()
    B, total = len(first), 0.0
    for i in range(2 * B):
        j = (i + B) % (2 * B)
        similar = [math.exp(float(views[i] @ views[k]) / temperature) for k in range(2 * B)]
        total -= math.log(similar[j] / (sum(similar) - similar[i]))
    return total / (2 * B)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_is_equation_1(temperature):
    torch.manual_seed(0)
    first, second = (F.normalize(torch.randn(5, 7), dim=-1) for _ in range(2))
    found = NTXent(temperature)(lambda batch: SimpleNamespace(first=first, second=second), None)
    assert found["nt_xent"].item() == pytest.approx(written_out(first, second, temperature), rel=1e-5)


def test_equal_views_at_right_angles_to_all_others_have_the_least_loss_of_these():
    apart = torch.eye(4)
    least = NTXent(0.5).loss(apart, apart)
    assert least.item() == pytest.approx(-math.log(math.e**2 / (math.e**2 + 6)))
    assert NTXent(0.5).loss(apart, apart.roll(1, 0)) > least
    assert NTXent(0.5).loss(apart[:1], apart[:1]).item() == 0  # one picture: nothing to tell apart


def test_gradients_pull_the_two_views_of_a_picture_together():
    torch.manual_seed(1)
    raw = torch.randn(2, 6, 4, requires_grad=True)
    before = F.normalize(raw, dim=-1)
    NTXent().loss(before[0], before[1]).backward()
    after = F.normalize(raw.detach() - 0.5 * raw.grad, dim=-1)
    assert (after[0] * after[1]).sum(-1).mean() > (before[0] * before[1]).sum(-1).mean()


def test_a_temperature_of_nothing_is_refused():
    with pytest.raises(ValueError, match="temperature: got 0"):
        NTXent(0)
