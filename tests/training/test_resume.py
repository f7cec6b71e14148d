"""A run that is killed and resumed gives, bit for bit, what it would have given."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
import toy

from sensorium.training import checkpoint
from sensorium.training.checkpoint import CheckpointError
from sensorium.training.loop import fit
from sensorium.training.run import TrainingError


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    trained = fit(toy.run(folder))
    return folder, trained


def kill_when_it_hangs(process, folder: Path) -> None:
    deadline = time.monotonic() + 120
    while not (folder / "hanging").exists():
        assert process.is_alive(), f"the run ended by itself ({process.exitcode})"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (folder / "hanging").unlink()


def assert_equal_runs(folder: Path, uninterrupted: Path) -> None:
    assert toy.losses(folder) == toy.losses(uninterrupted)
    got, expected = toy.files(checkpoint.find(folder)), toy.files(checkpoint.find(uninterrupted))
    assert got == expected  # weights, averages, optimiser, random state, model card: every byte
    assert (folder / "metrics.json").read_bytes() == (uninterrupted / "metrics.json").read_bytes()


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_a_random_step_and_resumed_is_bit_equal(tmp_path, uninterrupted, seed):
    chance = random.Random(seed)
    for kill in range(2):
        batch = chance.randrange(2, 30)  # two batches a step; the first one is the preflight's
        process = toy.start(toy.train_and_hang, str(tmp_path), {"workers": int(seed == 3 and kill)}, batch)
        kill_when_it_hangs(process, tmp_path)
    fit(toy.run(tmp_path))
    assert_equal_runs(tmp_path, uninterrupted[0])


def test_the_run_does_learn_draw_and_cross_epochs(uninterrupted):
    """What makes the equality above worth having."""
    folder, trained = uninterrupted
    records = [record for record in toy.losses(folder) if "scores" not in record]
    assert [record["step"] for record in records] == list(range(1, 41))
    assert records[-1]["epoch"] == round(80 / 6, 4)
    assert trained.scores == {
        "weight": {"value": pytest.approx(trained.model.head[2].weight.detach().sum().item())}
    }
    other_seed = fit(toy.run(folder / "other", seed=4, steps=2))
    assert other_seed.steps[0]["loss"] != records[0]["loss"]


@pytest.mark.parametrize("flush", [1, 2, 4, 7, 9])
def test_a_half_written_checkpoint_is_never_loaded(tmp_path, uninterrupted, flush):
    """Killed with the second checkpoint partly on the disk: the first one counts."""
    flushes_a_checkpoint = 10  # 7 files, the state folder, the checkpoint, the folder of checkpoints
    process = toy.start(toy.train_and_hang_while_saving, str(tmp_path), {}, flushes_a_checkpoint + flush)
    kill_when_it_hangs(process, tmp_path)
    assert [step for step, _ in checkpoint.finished(tmp_path / "checkpoints")] == [4]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2  # the half-written one lies beside it
    assert checkpoint.find(tmp_path).name == "step-00000004"
    fit(toy.run(tmp_path))
    assert_equal_runs(tmp_path, uninterrupted[0])
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-00000036", "step-00000040"]


def test_a_kill_between_saving_and_evaluating_is_caught_up(tmp_path, uninterrupted):
    def killed(model):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(toy.run(tmp_path, save_every=5, evaluate=killed))
    assert checkpoint.find(tmp_path).name == "step-00000005"
    fit(toy.run(tmp_path))
    assert toy.losses(tmp_path) == toy.losses(uninterrupted[0])


def test_the_numbers_do_not_depend_on_loader_workers(tmp_path, uninterrupted):
    fit(toy.run(tmp_path, workers=2))
    assert_equal_runs(tmp_path, uninterrupted[0])


def test_a_finished_run_returns_at_once(uninterrupted):
    folder, trained = uninterrupted
    again = fit(toy.run(folder))
    assert again.steps == trained.steps
    assert again.scores == trained.scores
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, trained.model.state_dict()[name]), name


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 9}, "seed was 3, now 9. To go on, use seed=3 again"),
        ({"batch_size": 10}, "batch_size was 8, now 10"),
        ({"system": "clip"}, "system was 'towers', now 'clip'. To go on, use system='towers' again"),
        ({"system_args": {"width": 8}}, "system_args was {'width': 16}, now {'width': 8}"),
        ({"data": toy.Noisy(40)}, "items was 50, now 40. To go on, use 50 items again"),
        ({"steps": 80}, "steps was 40, now 80"),
        ({"precision": "bf16"}, "precision was 'fp32', now 'bf16'"),
    ],
)
def test_resuming_another_run_names_the_difference(uninterrupted, changes, told):
    with pytest.raises(TrainingError) as error:
        fit(toy.run(uninterrupted[0], **changes))
    assert told in str(error.value)
    assert "fit(run, resume=False)" in str(error.value)
    assert "\n" not in str(error.value)


def test_resuming_on_other_frozen_weights_fails(tmp_path):
    fit(toy.run(tmp_path, steps=1))
    other = toy.Towers()
    with torch.no_grad():
        other.encoder[0].weight[0, 0] += 1e-3
    with pytest.raises(CheckpointError, match=r"the frozen part encoder is not the one.*from toy:encoder"):
        fit(toy.run(tmp_path, steps=1, model=other))


def test_starting_anew_keeps_the_old_records_aside(tmp_path):
    fit(toy.run(tmp_path, steps=8))
    old = toy.losses(tmp_path)
    fit(toy.run(tmp_path, steps=6, seed=7), resume=False)
    assert toy.losses(tmp_path / "previous-1") == old
    assert checkpoint.find(tmp_path / "previous-1").name == "step-00000008"
    assert [step for step, _ in checkpoint.finished(tmp_path / "checkpoints")] == [4, 6]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(TrainingError, match=r"cannot write to .*file/run: Not a directory; set folder="):
        fit(toy.run(tmp_path / "file" / "run"))


@pytest.mark.parametrize(
    ("limit", "told"),
    [(2048, "cannot write the checkpoint of step 4 to"), (250, "cannot write the run's records")],
)
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, limit, told):
    queue = toy._context.SimpleQueue()
    process = toy.start(toy.train_on_a_full_disk, str(tmp_path), {"evaluate": None}, limit, queue)
    error = queue.get()
    process.join()
    assert error.startswith(told)
    assert "make room" in error
    assert "\n" not in error
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert checkpoint.find(tmp_path / "previous-1").name == "step-00000001"
