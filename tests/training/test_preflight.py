"""What is wrong is said before training, and looking changes nothing."""

import random

import numpy as np
import pytest
import torch
import toy
from torch import nn

from sensorium.data.sample import Batch, Column
from sensorium.training import randomness
from sensorium.training.adaptation import freeze
from sensorium.training.loop import fit
from sensorium.training.preflight import positive_rows, preflight
from sensorium.training.run import Run, TrainingError


def checked(run: Run):
    freeze(run.model, run.freeze)
    return preflight(run)


def test_it_counts_parameters_and_describes_the_first_batch(tmp_path):
    report = checked(toy.run(tmp_path, part_lr={"head.2.bias": 0.5}))
    encoder, head = report.parts
    assert (encoder.name, encoder.parameters, encoder.trainable, encoder.rates) == (
        "encoder",
        6 * 16 + 3 * 16,
        0,
        (),
    )
    assert (head.name, head.parameters, head.trainable, head.rates) == (
        "head",
        16 * 3 + 3 + 32,
        83,
        (0.01, 0.5),
    )
    assert encoder.source == "toy:encoder"
    first = toy.run(tmp_path).order(3, 0, 50)[:8]
    assert f"items {', '.join(map(str, first[:6]))} and 2 more of the data" in report.batch
    assert "x: float32[8, 6]" in report.batch
    assert "x: float32[1, 6]" in report.after
    assert "total           227         83  36.6% trainable" in report.table()
    assert str(report).count("squared") == 1


def test_the_first_sample_is_the_one_that_training_sees(tmp_path):
    seen = []

    def collate(items):
        seen.append(items)
        return toy.collate(items)

    run = toy.run(tmp_path, collate=collate, steps=1, accumulate=1)
    report = checked(run)
    trained_on = seen[0][0][0]
    fit(toy.run(tmp_path, collate=collate, steps=1, accumulate=1))
    assert torch.equal(seen[1][0][0], trained_on)  # fit's preflight
    assert torch.equal(seen[2][0][0], trained_on)  # fit's first step
    assert f"{trained_on[0].item():.4g}, {trained_on[1].item():.4g}" in report.before
    assert f"{trained_on[0].item():.4g}, {trained_on[1].item():.4g}" in report.after


def test_it_leaves_random_states_buffers_gradients_and_modes_alone(tmp_path):
    run = toy.run(tmp_path, freeze=[])  # batch norm learns and would move its statistics
    run.model.head.eval()
    randomness.seed_all(1)
    before = randomness.capture(), {k: v.clone() for k, v in run.model.state_dict().items()}
    preflight(run)
    assert randomness.capture() == before[0]
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, before[1][name]), name
    assert all(parameter.grad is None for parameter in run.model.parameters())
    assert run.model.encoder.training
    assert not run.model.head.training


def test_captured_random_state_gives_the_same_numbers():
    def draw():
        return random.random(), random.gauss(0, 1), np.random.rand(3).tolist(), torch.rand(3).tolist()

    draw()  # leaves a second normal number waiting in Python's generator
    state = randomness.capture()
    first = draw()
    assert draw() != first
    randomness.restore(state)
    assert draw() == first
    with randomness.preserved():
        randomness.seed_all(5)
        inside = draw()
    after = draw()
    randomness.restore(state)
    draw()
    assert draw() == after
    randomness.seed_all(5)
    assert draw() == inside


def test_nothing_trainable_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match=r"nothing to train, all 8 parameters are frozen.*'!heads\.\*'"):
        checked(toy.run(tmp_path, freeze=["*"]))


def test_a_pattern_that_matches_nothing_names_its_neighbours(tmp_path):
    with pytest.raises(
        TrainingError, match=r"'encodr\.\*' matches none of the 8 parameters; near names: encoder"
    ):
        checked(toy.run(tmp_path, freeze=["encodr.*"]))
    with pytest.raises(TrainingError, match=r"part_lr .*'encoder' matches none of the 4 parameters"):
        checked(toy.run(tmp_path, part_lr={"encoder": 1.0}))


def test_parameters_without_gradient_are_listed(tmp_path):
    class Idle(toy.Towers):
        def __init__(self):
            super().__init__()
            self.idle = nn.Linear(2, 2)
            self.head.extra = nn.Parameter(torch.ones(1))

    with pytest.raises(
        TrainingError, match=r"no gradient reaches 3 trainable .* 4 batches: head\.extra; idle; freeze"
    ):
        checked(toy.run(tmp_path, model=Idle()))
    checked(toy.run(tmp_path, model=Idle(), freeze=["encoder", "idle", "head.extra"]))


def test_a_part_that_the_first_batch_lacks_is_waited_for(tmp_path):
    class Sometimes(toy.Towers):
        def __init__(self):
            super().__init__()
            self.rare = nn.Linear(3, 3)

        def forward(self, batch):
            out = super().forward(batch)
            return self.rare(out) if batch["rare"] else out

    def collate(items):
        return {
            **toy.collate(items),
            "rare": torch.rand(()) < 0.5,
        }  # seeded by the batch: the same in every draw

    run = toy.run(tmp_path, model=Sometimes(), collate=collate, seed=0)
    assert checked(run).zero_gradient == ()


def test_a_loss_without_a_graph_or_with_zero_gradient_is_an_error(tmp_path):
    def detached(model, batch):
        return {"detached": model(batch).detach().mean()}

    def flat(model, batch):
        return {"flat": 0 * model(batch).mean()}

    with pytest.raises(TrainingError, match=r"the loss \(detached\) does not depend on anything that learns"):
        checked(toy.run(tmp_path, objectives=[detached]))
    with pytest.raises(TrainingError, match="gradient of every trainable parameter is exactly zero"):
        checked(toy.run(tmp_path, objectives=[flat]))


def test_a_loss_that_is_not_finite_names_itself_and_the_samples(tmp_path):
    data = toy.Noisy()
    data.y[:] = float("nan")
    with pytest.raises(TrainingError, match="not finite before the first step: squared = nan for items"):
        checked(toy.run(tmp_path, data=data))


class Pairs(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, batch):
        return sum(self.linear(column.inputs["x"]).mean() for column in batch.columns.values())


def pairs_run(folder, meanings, present):
    columns = {
        name: Column("image", {"x": torch.ones(sum(has), 2)}, torch.tensor(has))
        for name, has in present.items()
    }
    batch = Batch(("a", "b", "c"), columns, torch.tensor(meanings), {})
    return Run(
        name="pairs", folder=folder, system="pairs", model=Pairs(), data=range(3), collate=lambda rows: batch,
        objectives=[lambda model, batch: {"mean": model(batch)}], batch_size=3, steps=1, progress=False,
    )  # fmt: skip


def test_batches_without_pairs_or_with_one_meaning_are_errors(tmp_path):
    both = {"picture": [True, True, False], "caption": [True, False, True]}
    report = checked(pairs_run(tmp_path, [[1, -1], [2, 1], [3, -1]], both))
    # rows 0 and 1 mean the same, row 2 stands alone: rows 0 and 1 have a positive in another column
    assert "positives: 67% of the rows have one in another column, 67% share their meaning" in report.batch
    assert "picture (image): in 2 of 3 rows" in report.batch
    assert "samples a, b, c" in report.batch
    apart = {"picture": [True, True, False], "caption": [False, False, True]}
    with pytest.raises(TrainingError, match=r"no pairs: .* 3 rows .*picture 2, caption 1"):
        checked(pairs_run(tmp_path, [[1], [2], [3]], apart))
    with pytest.raises(TrainingError, match="one meaning: all 3 rows"):
        checked(pairs_run(tmp_path, [[7], [7], [7]], both))


def test_positive_rows_on_a_known_answer():
    expected = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]
    assert positive_rows([[1, -1], [1, 2], [2, -1], [-1, -1]]).int().tolist() == expected


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"steps": None}, "exactly one of steps"),
        ({"epochs": 1.0}, "exactly one of steps"),
        ({"batch_size": 51}, "50 items in data cannot fill one batch of 51: set batch_size=50 or less"),
        (
            {"schedule": "cosin"},
            "schedule='cosin'; expected one of constant, cosine, linear, warmup-stable-decay",
        ),
        ({"precision": "fp16"}, "expected one of auto, bf16, fp32"),
        ({"objectives": []}, "no objectives"),
        ({"ema": 1.0}, "ema=1.0"),
        ({"system_args": {"x": toy}}, "system_args must be JSON values"),
        ({"steps": None, "epochs": 0.1}, "not one step"),
        ({"save_every": 0}, "save_every=0"),
    ],
)
def test_impossible_runs_say_what_to_type(tmp_path, changes, told):
    with pytest.raises(TrainingError, match=r"run 'toy': .*") as error:
        toy.run(tmp_path, **changes)
    assert told in str(error.value)
