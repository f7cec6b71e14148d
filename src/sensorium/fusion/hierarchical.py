"""Fusion in two stages: columns joined early below, predictions joined late above (`Hierarchical`, `Hybrid`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.fusion.early import Concatenation, two_layers
from sensorium.fusion.fusion import Fused, Fusion
from sensorium.fusion.late import mixture, own_branches
from sensorium.tasks import Task


class Hierarchical(Fusion):
    """Groups of columns, each joined early, whose predictions are averaged with learned weights.

        image ──┐
                ├──► concatenation ──► head ──► prediction ──┐
        text  ──┘                                            ├──► learned average ──► output
        audio ─────► concatenation ──► head ──► prediction ──┘

    groups: every column in exactly one, such as [["image", "text"], ["audio"]]; None: the first half of the
            columns (the larger one) and the rest

    A group is present when any of its columns is, and is named by them: "image+text".
    """

    def __init__(
        self,
        columns: Sequence[str],
        width: int,
        dropout: float = 0.0,
        groups: Sequence[Sequence[str]] | None = None,
    ) -> None:
        super().__init__(columns, width)
        middle = (len(self.columns) + 1) // 2
        halves = [list(self.columns[:middle]), list(self.columns[middle:])]
        given = [half for half in halves if half] if groups is None else [list(group) for group in groups]
        named = {"+".join(group): group for group in given}
        if (
            sorted(column for group in given for column in group) != sorted(self.columns)
            or not all(given)
            or len(named) < len(given)
        ):
            raise ValueError(
                f"groups: got {given}; expected each of {', '.join(self.columns)} in exactly one group, such as "
                f"options={{'groups': {[half for half in halves if half]}}}"
            )
        self.branches = tuple(named)
        self.groups = nn.ModuleDict(
            {name: Concatenation(group, width, dropout) for name, group in named.items()}
        )
        self.log_weights = nn.Parameter(torch.zeros(len(given)))

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        each = {name: group(features, present) for name, group in self.groups.items()}
        return Fused(
            {name: fused.branches["fused"] for name, fused in each.items()},
            {name: fused.present["fused"] for name, fused in each.items()},
        )

    def combine(self, outputs: Tensor, present: Tensor, task: Task) -> Tensor:
        return mixture(outputs, present, self.log_weights, task)


class Hybrid(Fusion):
    """Both at once: the columns joined early, and each by itself; all predictions averaged with learned weights.

        all columns ──► concatenation ──► head ──► prediction ──┐
        column_1    ──► two layers    ──► head ──► prediction ──┼──► learned average ──► output
        column_N    ──► two layers    ──► head ──► prediction ──┘

    The weights are the softmax, over the branches present, of one learned number each, shared by all tasks.
    """

    def __init__(self, columns: Sequence[str], width: int, dropout: float = 0.0) -> None:
        super().__init__(columns, width)
        if "fused" in self.columns:
            raise ValueError(
                "a column named 'fused': hybrid fusion has a branch of that name; rename the column"
            )
        self.branches = ("fused", *self.columns)
        self.join = Concatenation(self.columns, width, dropout)
        self.layers = nn.ModuleDict({column: two_layers(width, width, dropout) for column in self.columns})
        self.log_weights = nn.Parameter(torch.zeros(len(self.branches)))

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        fused = self.join(features, present)
        return Fused(
            fused.branches | own_branches(self.layers, features, present),
            fused.present | {column: present[column] for column in self.columns},
        )

    def combine(self, outputs: Tensor, present: Tensor, task: Task) -> Tensor:
        return mixture(outputs, present, self.log_weights, task)
