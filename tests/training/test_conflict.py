"""Gradients of several losses apart: against numbers worked out by hand, and against the plain sum."""

import json
from itertools import permutations, product

import numpy as np
import pytest
import torch
import toy
from torch import nn

from sensorium.training import conflict
from sensorium.training.conflict import LossGradients, projected
from sensorium.training.loop import fit
from sensorium.training.run import TrainingError


class Point(nn.Module):
    """A shared point, and a number that one loss alone knows."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.place, self.own = nn.Parameter(torch.tensor([x, y])), nn.Parameter(torch.tensor(1.0))


def halves(point: Point, one: list, other: list) -> dict[str, torch.Tensor]:
    """½|p − a|² + ½ own², and ½|p − b|²: gradients p − a and p − b."""
    return {
        "one": (point.place - torch.tensor(one)).square().sum() / 2 + point.own.square() / 2,
        "other": (point.place - torch.tensor(other)).square().sum() / 2,
    }


def merged(point: Point, losses: dict, how: str = "project") -> dict[str, float]:
    gradients = LossGradients(point)
    gradients.add(losses)
    return gradients.merge(how, seed=0, step=0)


def test_two_quadratics_in_conflict_by_hand():
    point = Point(0.0, 0.0)
    # gradients (1, 0) and (−1, 1): their product is −1, so each loses what goes against the other:
    # (1, 0) + ½ (−1, 1) = (½, ½) and (−1, 1) + 1 (1, 0) = (0, 1)
    cosines = merged(point, halves(point, [-1.0, 0.0], [1.0, -1.0]))
    torch.testing.assert_close(point.place.grad, torch.tensor([0.5, 1.5]))
    assert cosines == {"cosine/one|other": pytest.approx(-1 / 2**0.5)}


def test_watching_leaves_the_sum():
    point = Point(0.0, 0.0)
    cosines = merged(point, halves(point, [-1.0, 0.0], [1.0, -1.0]), "watch")
    torch.testing.assert_close(point.place.grad, torch.tensor([0.0, 1.0]))
    assert cosines["cosine/one|other"] == pytest.approx(-1 / 2**0.5)


def test_without_conflict_the_projection_is_the_sum():
    point = Point(0.0, 0.0)
    merged(point, halves(point, [-1.0, 0.0], [-2.0, -3.0]))
    torch.testing.assert_close(point.place.grad, torch.tensor([3.0, 3.0]))


def test_what_one_loss_alone_reaches_is_not_in_dispute():
    point = Point(0.0, 0.0)
    point.own.data.fill_(100.0)  # would make the two nearly orthogonal, were it counted
    cosines = merged(point, halves(point, [-1.0, 0.0], [1.0, 0.0]))
    assert cosines["cosine/one|other"] == pytest.approx(-1)
    assert point.own.grad.item() == 100.0
    torch.testing.assert_close(point.place.grad, torch.zeros(2))


def test_batches_are_added_up_before_they_are_compared():
    point = Point(0.0, 0.0)
    gradients = LossGradients(point)
    gradients.add({name: loss / 2 for name, loss in halves(point, [-2.0, 0.0], [0.0, 0.0]).items()})
    gradients.add({name: loss / 2 for name, loss in halves(point, [0.0, 0.0], [2.0, -2.0]).items()})
    cosines = gradients.merge("project", 0, 0)  # each alone has no conflict; their means are (1, 0), (−1, 1)
    assert cosines["cosine/one|other"] == pytest.approx(-1 / 2**0.5)
    torch.testing.assert_close(point.place.grad, torch.tensor([0.5, 1.5]))


def test_a_loss_that_nothing_learns_from_is_left_out():
    point = Point(1.0, 2.0)
    assert merged(point, {"one": point.place.sum(), "told": torch.tensor(3.0)}) == {}
    torch.testing.assert_close(point.place.grad, torch.ones(2))
    assert point.own.grad.item() == 0


def test_three_gradients_are_projected_in_some_order():
    gradients = dict(zip("abc", torch.randn(3, 4, generator=torch.Generator().manual_seed(2))))

    def in_order(name: str, others: tuple) -> torch.Tensor:
        mine = gradients[name].clone()
        for other in others:
            product_ = torch.dot(mine, gradients[other])
            if product_ < 0:
                mine -= product_ * gradients[other] / gradients[other].norm() ** 2
        return mine

    found = projected(gradients, np.random.default_rng(0))
    possible = {name: list(permutations([n for n in "abc" if n != name])) for name in "abc"}
    matches = [
        orders
        for orders in product(*possible.values())
        if all(torch.allclose(in_order(n, o), found[n], atol=1e-6) for n, o in zip("abc", orders))
    ]
    assert matches
    assert any(not torch.allclose(found[name], gradients[name]) for name in "abc")


def changes(**more) -> dict:
    return {"objectives": [toy.squared, toy.absolute], "weights": {"squared": 1.0, "*": 0.5}, **more}


def test_a_watched_run_is_the_plain_run(tmp_path):
    plain = fit(toy.run(tmp_path / "plain", **changes(steps=8)))
    watched = fit(toy.run(tmp_path / "watched", **changes(steps=8, conflict="watch")))
    np.testing.assert_allclose(
        [record["loss"] for record in watched.steps], [record["loss"] for record in plain.steps], rtol=1e-5
    )
    assert all(-1 <= record["cosine/squared|absolute"] <= 1 for record in watched.steps)
    assert "cosine/squared|absolute" not in plain.steps[0]


def opposed(model: nn.Module, batch: dict) -> dict[str, torch.Tensor]:
    return {"opposed": -(model(batch) - batch["y"]).abs().mean()}


def test_a_projected_run_resumes_bit_for_bit(tmp_path):
    settings = {"objectives": [toy.squared, opposed], "conflict": "project", "steps": 8, "save_every": 4}
    fit(toy.run(tmp_path / "whole", **settings))
    toy.copy(tmp_path / "whole", tmp_path / "parts")
    toy.remove(tmp_path / "parts" / "checkpoints" / "step-00000008")
    fit(toy.run(tmp_path / "parts", **settings))
    assert toy.losses(tmp_path / "parts") == toy.losses(tmp_path / "whole")
    last = "checkpoints/step-00000008"
    assert toy.files(tmp_path / "parts" / last) == toy.files(tmp_path / "whole" / last)
    assert min(record["cosine/squared|opposed"] for record in toy.losses(tmp_path / "whole")[:4]) < -0.3


def test_settings_of_earlier_runs_still_fit(tmp_path):
    fit(toy.run(tmp_path, steps=4))
    state = tmp_path / "checkpoints" / "step-00000004" / "state" / "run.json"
    saved = json.loads(state.read_text())
    assert saved["settings"].pop("conflict") is None
    state.write_text(json.dumps(saved))
    assert len(fit(toy.run(tmp_path, steps=4)).steps) == 4


def test_several_processes_are_refused(tmp_path):
    conflict.check(toy.run(tmp_path), 2)
    with pytest.raises(TrainingError, match=r"conflict='project' with 2 processes.*train in one"):
        conflict.check(toy.run(tmp_path, conflict="project"), 2)
    with pytest.raises(TrainingError, match="expected one of None, watch, project"):
        toy.run(tmp_path, conflict="surgery")
