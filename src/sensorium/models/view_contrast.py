"""`ViewContrast`: an encoder and a head that is thrown away afterwards, on two views of every picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BatchLike(Protocol):
    """What `forward` reads of a `data.Batch`."""

    @property
    def columns(self) -> Any: ...


@dataclass(frozen=True)
class Views:
    """What `ViewContrast.forward` returns. first, second: float32[B, D] of length 1, row by row of one picture."""

    first: Tensor
    second: Tensor


class ViewContrast(nn.Module):
    """Two views of a picture -> two unit vectors (Chen et al. 2020, arXiv:2002.05709, figure 2).

        first view ──┐                                    ┌──► float[B, D]
                     ├──► encoder ──► pooled ──► head ──► / |·|
        second view ─┘    (kept)      float[2B, W] (dropped) └──► float[B, D]

    encoder: media -> Features; its `pooled` is what is used afterwards
    head:    float[2B, W] -> float[2B, D]
    columns: of the batch, the two views; both go through the encoder in one pass, so that a batch norm sees both

    Raises ValueError when the views have different numbers of rows.
    """

    def __init__(
        self, encoder: Any, head: nn.Module, columns: Sequence[str] = ("first view", "second view")
    ) -> None:
        super().__init__()
        if len(set(columns)) != 2:
            raise ValueError(f"columns: got {list(columns)}; expected two")
        self.encoder, self.head, self.columns = encoder, head, tuple(columns)

    @property
    def by_column(self) -> dict[str, Any]:
        """The one encoder by column, for what prepares media."""
        return dict.fromkeys(self.columns, self.encoder)

    def forward(self, batch: BatchLike) -> Views:
        first, second = (batch.columns[name].inputs["pixels"] for name in self.columns)
        if len(first) != len(second):
            raise ValueError(f"got {len(first)} first and {len(second)} second views; expected two a picture")
        pooled = self.encoder({"pixels": torch.cat([first, second])}).pooled
        vectors = F.normalize(self.head(pooled).float(), dim=-1)
        return Views(vectors[: len(first)], vectors[len(first) :])
