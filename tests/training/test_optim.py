"""Groups, schedules and freezing on known answers."""

import itertools
import math

import pytest
import torch
import toy
from torch import nn

from sensorium.training import optim
from sensorium.training.adaptation import freeze, frozen_modules, parts, set_training


def test_groups_have_their_rate_and_decay(tmp_path):
    run = toy.run(
        tmp_path, freeze=[], lr=0.1, part_lr={"encoder": 0.01, "encoder.1": 0.001}, weight_decay=0.3
    )
    optimizer = optim.build(run)
    names = {parameter: name for name, parameter in run.model.named_parameters()}
    found = {
        names[p]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert found == {
        "encoder.0.weight": (0.01, 0.3),
        "encoder.0.bias": (0.01, 0.0),
        "encoder.1.weight": (0.001, 0.0),
        "encoder.1.bias": (0.001, 0.0),
        "head.1.weight": (0.1, 0.0),
        "head.1.bias": (0.1, 0.0),
        "head.2.weight": (0.1, 0.3),
        "head.2.bias": (0.1, 0.0),
    }
    assert optim.set_rates(optimizer, 0.5) == {"encoder": 0.005, "encoder.1": 0.0005, "": 0.05}
    assert {group["lr"] for group in optimizer.param_groups} == {0.005, 0.0005, 0.05}


@pytest.mark.parametrize(
    ("kind", "at_40", "last"),
    [
        ("constant", 1.0, 1.0),
        ("linear", 1 - 20 / 80, 1 / 80),
        ("cosine", 0.5 * (1 + math.cos(math.pi * 0.25)), 0.5 * (1 + math.cos(math.pi * 79 / 80))),
        ("warmup-stable-decay", 1.0, 1 / 10),
    ],
)
def test_schedules_on_known_answers(tmp_path, kind, at_40, last):
    run = toy.run(tmp_path, steps=100, warmup=20, schedule=kind, decay=0.1)
    rates = [optim.schedule(run, step) for step in range(100)]
    assert rates[:20] == [pytest.approx((step + 1) / 20) for step in range(20)]
    assert rates[20] == 1.0
    assert rates[40] == pytest.approx(at_40)
    assert rates[99] == pytest.approx(last)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[20:]))
    share = toy.run(tmp_path, steps=100, warmup=0.2, schedule=kind, decay=0.1)
    assert [optim.schedule(share, step) for step in range(100)] == rates


def test_the_last_pattern_wins_and_batch_norm_stays(tmp_path):
    model = toy.Towers()
    freeze(model, ["*", "!head", "head.1.*"])
    assert set(optim.trainable(model)) == {"head.2.weight", "head.2.bias"}
    set_training(model)
    assert {name for name, _ in frozen_modules(model)} == {
        "encoder",
        "encoder.0",
        "encoder.1",
        "encoder.2",
        "head.1",
    }
    assert {name for name, module in model.named_modules() if module.training} == {
        "",
        "head",
        "head.0",
        "head.2",
    }
    assert parts(nn.Sequential(nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)}))) == {
        "0.a": ["0.a.weight", "0.a.bias"],
        "0.b": ["0.b.weight", "0.b.bias"],
    }


def test_a_shared_module_answers_to_both_names():
    shared = nn.Linear(2, 2)
    model = nn.ModuleDict({"left": shared, "right": shared, "other": nn.Linear(2, 2)})
    freeze(model, ["right"])
    assert not shared.weight.requires_grad
    assert model["other"].weight.requires_grad


def test_optimiser_state_survives_by_name(tmp_path):
    def stepped(run):
        optimizer = optim.build(run)
        return run, optimizer

    def step(run, optimizer):
        batch = toy.collate([run.data[place] for place in range(8)])
        toy.squared(run.model, batch)["squared"].backward()
        optimizer.step()
        optimizer.zero_grad()

    run, optimizer = stepped(toy.run(tmp_path, freeze=[]))
    step(run, optimizer)
    state = {name: tensor.clone() for name, tensor in optim.state_by_name(run.model, optimizer).items()}
    assert "exp_avg:head.2.weight" in state
    other, fresh = stepped(toy.run(tmp_path, freeze=[]))
    optim.load_state_by_name(other.model, fresh, state)
    again = optim.state_by_name(other.model, fresh)
    assert again.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(again[name], tensor), name
