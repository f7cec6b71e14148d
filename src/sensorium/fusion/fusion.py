"""The face that every fusion has: several columns' `Features`, of which any may be absent -> `Fused`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.features import Features


@dataclass(frozen=True)
class Fused:
    """What a fusion makes of N columns of B rows.

    branches:  by name, Features of B rows; heads read `pooled`. One branch ("fused") of a fusion that joins the
               columns, one a column of a fusion that joins predictions, one a group of a hierarchical one
    present:   by branch bool[B], whether it has anything to go by; a branch's absent rows are zeros
    gates:     float[B, N], how much each column counts in a row, in the order of `columns`, 0 where absent;
               None where the fusion does not say
    attention: by a name such as "text→image", float[B, S, T] over heads averaged: where tokens of one column
               looked in another. Only when `keep_attention` is set
    """

    branches: dict[str, Features]
    present: dict[str, Tensor]
    gates: Tensor | None = None
    attention: dict[str, Tensor] = field(default_factory=dict)


class Fusion(nn.Module):
    """Columns of one width -> one or several branches that heads read.

        {column: Features[B, T, W]}, {column: bool[B]} ──► forward ──► Fused ──► a head a branch ──► combine

    columns:        names, in order
    width:          W of the Features that come in; out_width: of the branches
    branches:       names of the branches
    keep_attention: `forward` also returns attention maps (slower: explicit softmax)
    reads_tokens:   the result depends on the tokens, not on the pooled vectors alone; a recipe then caches the
                    tokens of frozen encoders too

    The caller gives B rows of every column; rows that are not present are zeros with an empty mask, and whatever
    stood there must never reach a row's result. A row may lack any columns, also all of them (zeros then).
    """

    columns: tuple[str, ...]
    width: int
    out_width: int
    branches: tuple[str, ...] = ("fused",)
    keep_attention: bool = False
    reads_tokens: bool = False

    def __init__(self, columns: Sequence[str], width: int) -> None:
        super().__init__()
        self.columns, self.width, self.out_width = tuple(columns), width, width
        if not self.columns or len(set(self.columns)) < len(self.columns):
            raise ValueError(
                f"columns of a fusion: got {list(columns)}; expected different names, at least one"
            )

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        raise NotImplementedError

    def combine(self, outputs: Tensor, present: Tensor, task: Any) -> Tensor:
        """float[B, K, C] of K branches, bool[B, K], a Task -> float[B, C]. A single branch is what it is."""
        assert outputs.shape[1] == 1, (
            f"{type(self).__name__} has {outputs.shape[1]} branches and no rule for them"
        )
        return outputs[:, 0]

    def stacked(
        self, features: Mapping[str, Features], present: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The pooled vectors side by side: (float[B, N, W], zeros where absent; bool[B, N])."""
        here = torch.stack([present[column] for column in self.columns], 1)
        pooled = torch.stack([features[column].pooled for column in self.columns], 1)
        return pooled if here.all() else pooled.masked_fill(~here[..., None], 0.0), here
