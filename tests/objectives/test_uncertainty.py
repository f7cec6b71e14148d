"""Learned weights of tasks: the formula by hand, and where they come to rest."""

import math

import pytest
import torch
from small_fusion import MOOD, STRENGTH, batch, network

from sensorium.objectives.supervised import Supervised
from sensorium.objectives.uncertainty import UncertaintyWeighted, weighed

TASKS = (MOOD, STRENGTH)


def test_the_formula_by_hand():
    loss, s = torch.tensor(3.0), torch.tensor(math.log(4))
    assert weighed(MOOD, loss, s).item() == pytest.approx(3 / 4 + math.log(2))
    assert weighed(STRENGTH, loss, s).item() == pytest.approx(3 / 8 + math.log(2))


def test_at_the_start_it_is_the_plain_loss_and_half_of_it():
    model = network(tasks=TASKS, uncertainty=True)
    rows = batch(3, mood=["glad", None, "sad"], strength=[1.0, 2.0, None])
    plain, found = Supervised(TASKS)(model, rows), UncertaintyWeighted(TASKS)(model, rows)
    torch.testing.assert_close(found["mood"], plain["mood"])
    torch.testing.assert_close(found["strength"], plain["strength"] / 2)
    assert list(UncertaintyWeighted(TASKS)(model, batch(3, mood=["glad"] * 3))) == ["mood"]


def test_the_weights_come_to_rest_where_the_paper_says():
    for task, best in ((MOOD, math.log(2 * 0.3)), (STRENGTH, math.log(0.3))):
        s = torch.zeros((), requires_grad=True)
        for _ in range(200):
            (gradient,) = torch.autograd.grad(weighed(task, torch.tensor(0.3), s), s)
            s = (s - 0.3 * gradient).detach().requires_grad_()
        assert s.item() == pytest.approx(best, abs=1e-3)


def test_the_model_learns_them_and_keeps_them():
    model = network(tasks=TASKS, uncertainty=True)
    names = {name for name, _ in model.named_parameters() if "log_variances" in name}
    assert names == {"log_variances.mood", "log_variances.strength"}
    losses = UncertaintyWeighted(TASKS)(model, batch(2, mood=["glad", "sad"], strength=[1.0, 5.0]))
    sum(losses.values()).backward()
    plain = Supervised(TASKS)(model, batch(2, mood=["glad", "sad"], strength=[1.0, 5.0]))
    assert model.log_variances["mood"].grad.item() == pytest.approx(0.5 - plain["mood"].item(), rel=1e-5)


def test_a_model_without_them_is_told_so():
    with pytest.raises(ValueError, match="uncertainty=True"):
        UncertaintyWeighted(TASKS)(network(tasks=TASKS), batch(2, mood=["glad", "sad"]))
