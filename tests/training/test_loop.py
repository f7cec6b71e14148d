"""The loop against the same training written out by hand, and its records."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import toy

from sensorium.training import history
from sensorium.training.loop import fit
from sensorium.training.order import Batches, Places, in_order, shuffled
from sensorium.training.run import TrainingError


def by_hand(run, steps: int) -> list[float]:
    """Plain PyTorch: AdamW, clipping, accumulation, constant rate."""
    model = run.model
    model.encoder.requires_grad_(False)
    optimizer = torch.optim.AdamW(
        [
            {"params": [model.head[2].weight], "weight_decay": run.weight_decay},
            {"params": [*model.head[1].parameters(), model.head[2].bias], "weight_decay": 0.0},
        ],
        lr=run.lr,
        betas=run.betas,
    )
    batches, places = Batches(run.data, run.collate, run.seed), iter(Places(run.order, run.seed, 50, 8))
    losses = []
    for _ in range(steps):
        model.train()
        model.encoder.eval()
        total = 0.0
        for _ in range(run.accumulate):
            loss = toy.squared(model, batches[next(places)][1])["squared"]
            (loss / run.accumulate).backward()
            total += loss.item() / run.accumulate
        torch.nn.utils.clip_grad_norm_(model.parameters(), run.clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses


def still(model: toy.Towers) -> toy.Towers:
    model.head[0].p = 0.0
    return model


def test_it_is_the_training_one_would_write(tmp_path):
    changes = {"ema": None, "schedule": "constant", "warmup": 0, "clip": 0.1}
    expected = by_hand(toy.run(tmp_path, model=still(toy.Towers()), **changes), 20)
    trained = fit(toy.run(tmp_path, model=still(toy.Towers()), steps=20, **changes))
    np.testing.assert_allclose([record["loss"] for record in trained.steps], expected, rtol=1e-6)
    assert expected[-1] < expected[0]


def test_frozen_parts_stay_and_keep_their_statistics(tmp_path):
    model = toy.Towers()
    before = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    fit(toy.run(tmp_path, model=model, steps=3))
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    fit(toy.run(tmp_path / "thawed", model=model, steps=3, freeze=["encoder", "!encoder.1"]))
    assert torch.equal(model.encoder.state_dict()["0.weight"], before["0.weight"])
    assert not torch.equal(model.encoder.state_dict()["1.weight"], before["1.weight"])
    assert not torch.equal(model.encoder.state_dict()["1.running_mean"], before["1.running_mean"])


def test_weighted_losses_sum_to_the_total(tmp_path):
    changes = {"objectives": [toy.squared, toy.absolute], "steps": 2}
    trained = fit(toy.run(tmp_path / "a", weights={"squared": 2.0, "abs*": 0.5}, **changes))
    for record in trained.steps:
        expected = 2 * record["loss/squared"] + 0.5 * record["loss/absolute"]
        assert record["loss"] == pytest.approx(expected, rel=1e-6)
    with pytest.raises(
        TrainingError, match=r"loss 'absolute' has no weight; weights has squared: add 'absolute': 1\.0"
    ):
        fit(toy.run(tmp_path / "b", weights={"squared": 2.0}, **changes))
    with pytest.raises(TrainingError, match="two objectives give a loss named 'squared'"):
        fit(toy.run(tmp_path / "c", objectives=[toy.squared, toy.squared], steps=2))

    def rows(model, batch):
        return {"rows": model(batch).mean(1)}

    with pytest.raises(TrainingError, match=r"loss 'rows' of rows has shape \(8,\); expected a scalar"):
        fit(toy.run(tmp_path / "d", objectives=[rows]))


def test_a_loss_that_stops_being_finite_names_step_loss_and_items(tmp_path):
    data = toy.Noisy()
    bad = int(shuffled(3, 0, 50)[8 * 4 + 2])  # in the fifth batch: the third step of two batches
    data.y[bad] = float("inf")
    with pytest.raises(TrainingError) as error:
        fit(toy.run(tmp_path, data=data))
    assert str(error.value).startswith("the loss of step 3 is not finite: squared = inf, for items ")
    assert f"{shuffled(3, 0, 50)[32]}, " in str(error.value)
    assert [record["step"] for record in toy.losses(tmp_path)] == [1, 2]


def test_a_gradient_that_is_not_finite_names_its_parameters(tmp_path):
    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float("inf")

    steps = 0

    def sometimes_steep(model, batch):
        nonlocal steps
        steps += 1
        out = model(batch)
        return {"steep": (Steep.apply(out) if steps == 4 else out).square().mean()}

    with pytest.raises(
        TrainingError, match=r"the gradient of step 2 is not finite \(its loss is\) in head\.1\.weight"
    ):
        fit(toy.run(tmp_path, objectives=[sometimes_steep]))


def test_rows_that_offer_nothing_are_passed_over(tmp_path):
    calls = 0

    def sometimes(model, batch):
        nonlocal calls
        calls += 1
        return {} if calls == 4 else toy.squared(model, batch)  # call 1: preflight; 4: the third step

    trained = fit(toy.run(tmp_path, objectives=[sometimes], steps=4, accumulate=1))
    assert [("loss/squared" in record) for record in trained.steps] == [True, True, False, True]
    assert trained.steps[2]["loss"] == 0.0
    assert trained.steps[2]["grad_norm"] == 0.0


def test_weights_that_no_batch_uses_have_a_gradient_of_zero_and_decay(tmp_path):
    model, calls = toy.Towers(), 0
    model.spare = torch.nn.Linear(4, 4)
    matrix, bias = model.spare.weight.detach().clone(), model.spare.bias.detach().clone()

    def at_first(model, batch):
        nonlocal calls
        calls += 1
        more = (
            model.spare(torch.ones(4)).sum() if calls == 1 else 0.0
        )  # call 1: preflight, which wants it used
        return {"squared": toy.squared(model, batch)["squared"] + more}

    changes = {"ema": None, "schedule": "constant", "warmup": 0, "weight_decay": 0.1}
    fit(toy.run(tmp_path, model=model, objectives=[at_first], steps=5, **changes))
    torch.testing.assert_close(model.spare.weight.detach(), matrix * (1 - 0.01 * 0.1) ** 5)
    assert torch.equal(model.spare.bias.detach(), bias)  # biases do not decay


def test_the_average_follows_its_formula_and_is_what_is_saved(tmp_path):
    weights = []

    def watching(model, batch):
        weights.append(model.head[2].weight.detach().clone())
        return toy.squared(model, batch)

    run = toy.run(tmp_path, objectives=[watching], accumulate=1, steps=12, ema=0.5)
    trained = fit(run)
    average = weights[1]
    for step, after in enumerate(weights[2:]):  # 0: preflight; 1: before the first step; 2: after it
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * after
    # the weights after the last step were not seen: compare one step earlier
    from safetensors.torch import load_file

    raw = load_file(trained.checkpoint / "state" / "model.safetensors")["head.2.weight"]
    average = 0.5 * average + 0.5 * raw
    torch.testing.assert_close(trained.model.head[2].weight.detach(), average)
    assert torch.equal(
        load_file(trained.checkpoint / "model.safetensors")["head.2.weight"], trained.model.head[2].weight
    )
    assert trained.scores["weight"]["value"] == trained.model.head[2].weight.detach().sum().item()


def test_autocast_reaches_the_model(tmp_path):
    types = set()

    def watching(model, batch):
        out = model(batch)
        types.add(out.dtype)
        return {"squared": (out.float() - batch["y"]).square().mean()}

    fit(toy.run(tmp_path, objectives=[watching], steps=1, precision="bf16"))
    assert types == {torch.bfloat16}


def test_the_order_is_a_pure_function_and_covers_every_item():
    whole = list(zip(range(18), Places(shuffled, 7, 50, 8)))
    for start in (0, 5, 6, 11):
        for offset, place in zip(range(6), Places(shuffled, 7, 50, 8, start)):
            assert place == whole[start + offset][1]
    first, second = (sorted(row for _, p in whole if p.epoch == e for row in p.rows) for e in (0, 1))
    assert len(set(first)) == len(set(second)) == 48
    assert [p.rows for _, p in whole if p.epoch == 0] != [p.rows for _, p in whole if p.epoch == 1]
    halves = [Places(shuffled, 7, 50, 8, 3, rank, 2) for rank in range(2)]
    for left, right, (_, place) in zip(*halves, whole[3:]):
        assert left.rows + right.rows == place.rows
    assert in_order(0, 1, 4).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="it must give the same number in every epoch"):
        list(zip(range(9), Places(lambda seed, epoch, length: np.arange(length - 9 * epoch), 0, 50, 8)))


def test_items_draw_the_same_in_any_batch_and_leave_no_trace():
    data = toy.Noisy()
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    alone = Batches(data, lambda items: items, 3)[next(iter(Places(in_order, 3, 50, 1, start=5)))][1]
    together = Batches(data, lambda items: items, 3)[next(iter(Places(in_order, 3, 50, 10)))][1]
    assert torch.equal(alone[0][0], together[5][0])
    assert torch.equal(torch.rand(2), expected)
    second = Batches(data, lambda items: items, 3)[next(iter(Places(in_order, 3, 50, 10, start=5)))][1]
    assert not torch.equal(second[5][0], together[5][0])  # another epoch, other noise


def test_records_and_scores_are_on_file(tmp_path):
    @dataclass(frozen=True)
    class Score:
        value: float
        low: float
        high: float
        blind: float
        n: int

    scores = {"R@1": Score(0.5, 0.4, 0.6, 0.01, 200), "loss": 1.25, "nothing": float("nan")}
    trained = fit(toy.run(tmp_path, steps=10, evaluate=lambda model: scores))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["R@1"] == {"value": 0.5, "low": 0.4, "high": 0.6, "blind": 0.01, "n": 200}
    assert metrics["loss"] == {"value": 1.25}
    assert metrics["nothing"] == {"value": None}
    assert trained.scores == metrics
    records = history.read(tmp_path / "history.jsonl")
    assert [record["step"] for record in records if "scores" in record] == [5, 10]
    assert [record for record in records if "scores" not in record] == trained.steps
    card = (trained.checkpoint / "README.md").read_text()
    assert "| R@1 | 0.5 | 0.4 – 0.6 | 0.01 | – | – | 200 |" in card
    assert "trained for 10 of 10 steps of 16 rows (3.33 passes over 50 items)" in card
    assert "`encoder` from `toy:encoder`" in card


def test_a_record_cut_short_is_left_out(tmp_path):
    (tmp_path / "history.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert history.read(tmp_path / "history.jsonl") == [{"step": 1, "loss": 2.0}]
    book = history.History(tmp_path, step=1)
    book.add({"step": 2, "loss": 1.0})
    book.close()
    assert [record["step"] for record in history.read(tmp_path / "history.jsonl")] == [1, 2]


def test_tensorboard_gets_the_losses(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trained = fit(toy.run(tmp_path, steps=5, tensorboard=True))
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = [(event.step, event.value) for event in events.Scalars("loss")]
    assert losses == [(record["step"], pytest.approx(record["loss"], rel=1e-6)) for record in trained.steps]
    assert events.Scalars("scores/weight")[0].step == 5
