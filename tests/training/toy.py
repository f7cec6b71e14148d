"""A model, data and runs that train in milliseconds, and a way to train them in processes of their own."""

import multiprocessing
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sensorium.training import checkpoint
from sensorium.training.loop import fit
from sensorium.training.run import Run


class Towers(nn.Module):
    """x -> encoder (batch norm, dropout; usually frozen) -> head (dropout, norm) -> float[B, 3]."""

    def __init__(self, width: int = 16, seed: int = 0, source: str | None = "toy:encoder") -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.Dropout(0.3))
        self.head = nn.Sequential(nn.Dropout(0.3), nn.LayerNorm(width), nn.Linear(width, 3))
        self.encoder.source = source
        numbers = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=numbers) * 0.5)

    def forward(self, batch: dict) -> torch.Tensor:
        return self.head(self.encoder(batch["x"]))


class Noisy:
    """50 items that draw from all three random generators each time they are read, as augmentation does."""

    def __init__(self, items: int = 50) -> None:
        numbers = torch.Generator().manual_seed(1)
        self.x, self.y = torch.randn(items, 6, generator=numbers), torch.randn(items, 3, generator=numbers)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        noise = torch.randn(6) + random.random() + float(np.random.rand())
        return self.x[place] + 0.1 * noise, self.y[place]


def collate(items: list) -> dict:
    return {"x": torch.stack([x for x, _ in items]), "y": torch.stack([y for _, y in items])}


def squared(model: nn.Module, batch: dict) -> dict[str, torch.Tensor]:
    return {"squared": (model(batch) - batch["y"]).square().mean()}


def absolute(model: nn.Module, batch: dict) -> dict[str, torch.Tensor]:
    return {"absolute": (model(batch) - batch["y"]).abs().mean()}


def score(model: nn.Module) -> dict[str, float]:
    """Draws random numbers, as an evaluation may, which must not disturb the run."""
    assert not model.training
    assert not torch.is_grad_enabled()
    torch.rand(3), random.random(), np.random.rand()
    return {"weight": model.head[2].weight.sum().item()}


def run(folder: str | Path, **changes) -> Run:
    """Dropout, a frozen part, averaging, accumulation, augmentation, and epochs that steps do not respect."""
    settings = {
        "name": "toy",
        "folder": folder,
        "system": "towers",
        "system_args": {"width": 16},
        "model": Towers(),
        "data": Noisy(),
        "collate": collate,
        "objectives": [squared],
        "batch_size": 8,
        "steps": 40,
        "freeze": ["encoder"],
        "lr": 0.01,
        "accumulate": 2,
        "ema": 0.9,
        "precision": "fp32",
        "seed": 3,
        "save_every": 4,
        "evaluate_every": 5,
        "evaluate": score,
        "progress": False,
    }
    return Run(**{**settings, **changes})


def losses(folder: str | Path) -> list[dict]:
    """The records of a run without what depends on the clock."""
    from sensorium.training.history import read

    return [
        {k: v for k, v in record.items() if k != "rows_per_second"}
        for record in read(Path(folder) / "history.jsonl")
    ]


def files(checkpoint_folder: Path) -> dict[str, bytes]:
    """The bytes of all that a checkpoint consists of."""
    return {
        str(p.relative_to(checkpoint_folder)): p.read_bytes()
        for p in checkpoint_folder.rglob("*")
        if p.is_file()
    }


_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["sensorium.training.loop", "torch._dynamo", "torch.distributed.tensor"])


def start(target, *args) -> multiprocessing.Process:
    """A process of its own, quick to start: forked from a server that has done the imports and no more."""
    process = _context.Process(target=target, args=args)
    process.start()
    return process


def train(folder: str, changes: dict) -> None:
    torch.set_num_threads(1)
    fit(run(folder, **changes))


def hang(folder: str) -> None:
    """Wait to be killed, and say so."""
    (Path(folder) / "hanging").touch()
    time.sleep(600)


def train_and_hang(folder: str, changes: dict, batch: int) -> None:
    """Stops for good in the middle of a batch, counted from where this process starts."""
    seen = 0

    def hanging(model: nn.Module, batch_: dict) -> dict[str, torch.Tensor]:
        nonlocal seen
        seen += 1
        if seen == batch:
            hang(folder)
        return squared(model, batch_)

    hanging.__name__ = "squared"
    train(folder, {**changes, "objectives": [hanging]})


def train_and_hang_while_saving(folder: str, changes: dict, flush: int) -> None:
    """Stops for good at the given flush to disk; leaves the file "hanging" as a sign."""
    flushed, real = 0, os.fsync

    def fsync(handle: int) -> None:
        nonlocal flushed
        flushed += 1
        if flushed == flush:
            hang(folder)
        real(handle)

    checkpoint.os.fsync = fsync
    train(folder, changes)


def train_on_a_full_disk(folder: str, changes: dict, limit: int, queue) -> None:
    """Files may not grow beyond `limit` bytes here: writing fails as on a full disk."""
    import resource

    from sensorium.training.run import TrainingError

    torch.set_num_threads(1)
    fit(run(folder, **{**changes, "steps": 1, "save_every": None}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        fit(run(folder, **changes), resume=False)
    except TrainingError as error:
        queue.put(str(error))


def train_in_rank(build, folder: str, changes: dict, rank: int, ranks: int, port: int) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(ranks),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    fit(build(folder, **changes))
    torch.distributed.destroy_process_group()


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def copy(folder: Path, to: Path) -> None:
    shutil.copytree(folder, to)
