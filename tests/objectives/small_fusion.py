"""A fusion network whose columns come as Features, so small that its numbers can be followed."""

from dataclasses import dataclass, field

import torch
from torch import nn

from sensorium.data.batch import meaning_ids
from sensorium.data.sample import Batch, Column
from sensorium.features import Features
from sensorium.fusion import fusion_of
from sensorium.models.fusion_network import FusionNetwork
from sensorium.tasks import Number, OneOf, Task

WIDTH = 6
MOOD = OneOf("mood", ["glad", "sad", "calm"])
STRENGTH = Number("strength")


class Ready(nn.Module):
    """An encoder whose Features come from a cache."""

    width = WIDTH
    modality = "text"


def network(kind: str = "concatenation", tasks: tuple[Task, ...] = (MOOD,), **options) -> FusionNetwork:
    torch.manual_seed(0)
    columns = {"image": Ready(), "text": Ready()}
    return FusionNetwork(columns, {}, fusion_of(kind, tuple(columns), WIDTH), tasks, **options)


def batch(rows: int = 4, present: dict | None = None, seed: int = 1, **fields) -> Batch:
    """Random vectors in two columns; `present` says by column which rows have it (all by default)."""
    numbers = torch.Generator().manual_seed(seed)
    columns = {}
    for name in ("image", "text"):
        vectors = torch.randn(rows, WIDTH, generator=numbers)
        here = torch.tensor((present or {}).get(name, [True] * rows))
        columns[name] = Column("text", Features.from_pooled(vectors[here]), here)
    return Batch(tuple(map(str, range(rows))), columns, meaning_ids([()] * rows), fields)


@dataclass
class Fixed:
    """What a model would return, written down: outputs of branches, by task float[B, C]."""

    parts: dict
    present: dict
    columns: dict = field(default_factory=dict)

    @property
    def fused(self) -> "Fixed":
        return Fixed({}, self.present)

    @property
    def branches(self) -> dict:
        return self.present
