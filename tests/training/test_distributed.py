"""Two processes on the CPU (gloo) give the single process's numbers."""

import socket
from collections import namedtuple

import pytest
import torch
import toy
from safetensors.torch import load_file

from sensorium.data.sample import Batch, Column
from sensorium.features import Features
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.objectives.info_nce import InfoNCE
from sensorium.training import checkpoint, distributed
from sensorium.training.loop import fit
from sensorium.training.run import Run, TrainingError


class Given(torch.nn.Module):
    """An encoder whose Features are given, as from a feature cache."""

    width = 6
    modality = "image"


class Head(torch.nn.Module):
    width = 4

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(6, 4)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))

    def forward(self, features: Features) -> Features:
        return Features.from_pooled(self.linear(features.pooled))


def uneven(rows: list[int]) -> Batch:
    """24 rows with a picture and, in turn, a caption, speech, or both; the third pair of columns is rare."""
    numbers = torch.Generator().manual_seed(5)
    vectors = torch.randn(3, 24, 6, generator=numbers)
    columns = {}
    for place, name in enumerate(("picture", "caption", "speech")):
        has = [name == "picture" or row % 4 in (0, 1 + place) for row in rows]
        present = [row for row, it_has in zip(rows, has, strict=True) if it_has]
        columns[name] = Column("image", Features.from_pooled(vectors[place, present]), torch.tensor(has))
    meanings = torch.tensor([[row % 20] for row in rows])  # four rows mean what another one means
    return Batch(tuple(map(str, rows)), columns, meanings, {})


def joint(folder: str, **changes) -> Run:
    names = ("picture", "caption", "speech")
    model = JointEmbedding({n: Given() for n in names}, {n: Head(i) for i, n in enumerate(names)})
    settings = {
        "name": "joint",
        "folder": folder,
        "system": "joint",
        "model": model,
        "data": range(24),
        "collate": uneven,
        "objectives": [InfoNCE()],
        "batch_size": 8,
        "steps": 12,
        "lr": 0.02,
        "precision": "fp32",
        "clip": 0.5,
        "progress": False,
    }
    return Run(**{**settings, **changes})


def towers(folder: str, **changes) -> Run:
    """Without dropout, whose numbers belong to a process. Augmentation belongs to the item and stays."""
    model = toy.Towers()
    model.head[0].p = 0.0
    return toy.run(folder, model=model, steps=12, **changes)


def run_on_two(build, folder, changes) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        toy.start(toy.train_in_rank, build, str(folder), changes, rank, 2, port) for rank in range(2)
    ]
    for process in processes:
        process.join(120)
        assert process.exitcode == 0


@pytest.mark.parametrize("build", [towers, joint])
def test_two_processes_give_the_losses_and_weights_of_one(tmp_path, build):
    single = fit(build(str(tmp_path / "one")))
    run_on_two(build, tmp_path / "two", {})
    records = [record for record in toy.losses(tmp_path / "two") if "scores" not in record]
    assert len(records) == len(single.steps) == 12
    for one, two in zip(single.steps, records, strict=True):
        assert one.keys() - {"rows_per_second"} == two.keys()
        for name in two:
            assert two[name] == pytest.approx(one[name], rel=2e-5, abs=1e-6), (name, two["step"])
    expected = load_file(single.checkpoint / "model.safetensors")
    got = load_file(checkpoint.find(tmp_path / "two") / "model.safetensors")
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, rtol=1e-4, atol=1e-5)


def test_two_processes_resume_exactly(tmp_path):
    run_on_two(joint, tmp_path / "whole", {})
    run_on_two(joint, tmp_path / "halves", {"save_every": 5})
    newest = checkpoint.finished(tmp_path / "halves" / "checkpoints")[-1][1]
    assert newest.name == "step-00000012"
    toy.remove(newest)  # as if it had been killed after step 10
    run_on_two(joint, tmp_path / "halves", {"save_every": 5})
    assert toy.losses(tmp_path / "halves") == toy.losses(tmp_path / "whole")
    assert toy.files(checkpoint.find(tmp_path / "halves")) == toy.files(checkpoint.find(tmp_path / "whole"))
    with pytest.raises(TrainingError, match=r"processes was 2, now 1. To go on, use 2 processes again"):
        fit(joint(str(tmp_path / "whole")))


def test_a_batch_moves_with_all_its_tensors():
    Pair = namedtuple("Pair", "a b")
    there = torch.device("meta")
    moved = distributed.to_device(
        {"pair": Pair(torch.ones(2), "text"), "list": [torch.ones(1), 3], "batch": uneven([0, 1])}, there
    )
    assert moved["pair"].a.device == there
    assert moved["pair"].b == "text"
    assert moved["list"][0].device == there
    assert moved["list"][1] == 3
    assert moved["batch"].columns["picture"].inputs.pooled.device == there
    assert moved["batch"].ids == ("0", "1")


def test_precision_auto_is_what_the_cpu_computes_in(monkeypatch):
    cpu = torch.device("cpu")
    assert distributed.autocast_dtype("fp32", cpu) is None
    assert distributed.autocast_dtype("bf16", cpu) is torch.bfloat16
    monkeypatch.setenv("SENSORIUM_FAST", "0")
    assert distributed.autocast_dtype("auto", cpu) is None
