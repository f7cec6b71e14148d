"""Three columns of six rows, of which rows lack some: what the tests of every fusion put in."""

import torch
from torch import Tensor

from sensorium.features import Features
from sensorium.fusion.fusion import Fused
from sensorium.tasks import AnyOf, Box, Number, OneOf, Task

NAMES = ("image", "text", "audio")
WIDTH = 8
HERE = {
    "image": torch.tensor([1, 1, 0, 1, 0, 0], dtype=torch.bool),
    "text": torch.tensor([1, 0, 1, 1, 0, 1], dtype=torch.bool),
    "audio": torch.tensor([1, 1, 1, 0, 0, 0], dtype=torch.bool),
}
NOTHING = 4  # the row without any
TASKS: tuple[Task, ...] = (OneOf("one", "abc"), AnyOf("any", "abcd"), Number("number"), Box("box"))


def drawn(names=NAMES, width: int = WIDTH, seed: int = 0) -> dict[str, Features]:
    """Random Features, zeros where `HERE` says that a row lacks the column."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name in names:
        tokens = torch.randn(6, 3, width, generator=generator)
        mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]] * 2, dtype=torch.bool) & HERE[name][:, None]
        pooled = torch.randn(6, width, generator=generator)
        found[name] = Features(tokens * mask[..., None], mask, pooled.masked_fill(~HERE[name][:, None], 0.0))
    return found


def pooled_of(*columns: list[list[float]]) -> dict[str, Features]:
    """Pooled vectors written out, by the names in order."""
    return {name: Features.from_pooled(torch.tensor(rows)) for name, rows in zip(NAMES, columns)}


def everywhere(features: dict[str, Features]) -> dict[str, Tensor]:
    return {name: torch.ones(len(found), dtype=torch.bool) for name, found in features.items()}


def stacked(fused: Fused, branches) -> tuple[Tensor, Tensor]:
    """Pooled branches float[B, K, W] and bool[B, K]."""
    pooled = torch.stack([fused.branches[branch].pooled for branch in branches], 1)
    return pooled, torch.stack([fused.present[branch] for branch in branches], 1)
