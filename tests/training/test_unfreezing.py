"""Parts open at their step, not before; a run that stopped between two openings goes on bit for bit."""

from pathlib import Path

import pytest
import torch
import toy

from sensorium.training import checkpoint
from sensorium.training.loop import fit
from sensorium.training.run import Run, TrainingError
from sensorium.training.unfreezing import Unfreezing

THAW = {"encoder.0": 6, "encoder.1": 10}


def run(folder: str | Path, **changes) -> Run:
    return toy.run(folder, **{"freeze": [], "thaw": THAW, "steps": 14, **changes})


def weights(folder: Path, step: int) -> dict[str, torch.Tensor]:
    model = toy.Towers()
    checkpoint.load_weights(folder / "checkpoints" / f"step-{step:08d}", model)
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_what_opens_when():
    model = toy.Towers()
    unfreezing = Unfreezing(run("unused", model=model))
    head = {name for name, _ in model.named_parameters() if name.startswith("head")}
    linear, norm = {"encoder.0.weight", "encoder.0.bias"}, {"encoder.1.weight", "encoder.1.bias"}
    for step, opened in (
        (0, head),
        (5, head),
        (6, head | linear),
        (9, head | linear),
        (10, head | linear | norm),
    ):
        unfreezing.open_at(step)
        assert {name for name, p in model.named_parameters() if p.requires_grad} == opened
        assert model.encoder[1].training == (step >= 10)  # a closed norm keeps its statistics
        with unfreezing.all_open():
            assert all(parameter.requires_grad for parameter in model.parameters())
        assert {name for name, p in model.named_parameters() if p.requires_grad} == opened


@pytest.mark.parametrize("ema", [None, 0.9])
def test_only_what_is_open_moves(tmp_path, ema):
    fit(run(tmp_path, ema=ema, save_every=1, keep=99))
    start = toy.Towers().state_dict()
    for name in ("encoder.0.weight", "encoder.1.weight", "encoder.1.running_mean"):
        opens = THAW[name[:9]]
        assert torch.equal(
            weights(tmp_path, opens)[name], start[name]
        )  # after `opens` steps, before its first
        assert not torch.equal(weights(tmp_path, opens + 1)[name], start[name])
    assert not torch.equal(weights(tmp_path, 1)["head.2.weight"], start["head.2.weight"])


@pytest.mark.parametrize("stop", [4, 6, 8])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, stop):
    whole = fit(run(tmp_path / "whole", save_every=2))

    class Killed(Exception):
        pass

    def killed(model):
        raise Killed

    with pytest.raises(Killed):  # after saving `stop` steps
        fit(run(tmp_path / "again", save_every=2, evaluate=killed, evaluate_every=stop))
    assert checkpoint.finished(tmp_path / "again" / "checkpoints")[-1][0] == stop
    again = fit(run(tmp_path / "again", save_every=2))
    records = [[one for one in toy.losses(tmp_path / name) if "loss" in one] for name in ("whole", "again")]
    assert records[0] == records[1]
    assert len(records[0]) == 14
    ends = [one.model.state_dict() for one in (whole, again)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_runs_that_cannot_open_say_so(tmp_path):
    with pytest.raises(TrainingError, match=r"thaw \(of what learns\): 'encodr'"):
        fit(run(tmp_path, thaw={"encodr": 3}))
    with pytest.raises(TrainingError, match="all to open before the run ends"):
        fit(run(tmp_path, thaw={"encoder": 14}))
    with pytest.raises(TrainingError, match="some to learn from step 0 on"):
        fit(run(tmp_path, thaw={"encoder": 3, "head": 1}))
    with pytest.raises(TrainingError, match="2 processes"):
        Unfreezing(run(tmp_path), ranks=2)


def test_the_settings_of_runs_without_it_stay_as_they_were(tmp_path):
    assert "thaw" not in toy.run(tmp_path).settings()
    assert run(tmp_path).settings()["thaw"] == THAW
