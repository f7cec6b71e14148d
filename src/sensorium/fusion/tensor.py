"""Full tensor fusion: every product of units of different columns has a weight of its own (`TensorProduct`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.fusion.early import joined
from sensorium.fusion.fusion import Fused, Fusion

MOST_WEIGHTS = 2**26  # 268 MB in float32; with gradients and AdamW's two moments four times that


class TensorProduct(Fusion):
    """The tensor fusion network (Zadeh et al. 2017, arXiv:1707.07250, section 4.2).

        pooled_n ──► linear (W -> size) ──► z_n
        [z_1 ; 1] ⊗ … ⊗ [z_N ; 1] ──► (size + 1)^N numbers ──► linear ──► dropout ──► fused

    An absent column is [0 ; 1], so that the row keeps exactly the products of the columns it has.

    size: of the vectors that are multiplied; None takes the columns as they come, without a linear map

    The weights are (size + 1)^N · W: `low_rank` makes do with rank · N · (size + 1) · W. Raises ValueError when
    they are more than 2^26.
    """

    def __init__(
        self, columns: Sequence[str], width: int, dropout: float = 0.0, size: int | None = 16
    ) -> None:
        super().__init__(columns, width)
        N = len(self.columns)
        self.size = width if size is None else size
        if self.size < 1:
            raise ValueError(f"size: got {size}; expected a whole number from 1 on, or None")
        weights = (self.size + 1) ** N * width
        if weights > MOST_WEIGHTS:
            raise ValueError(
                f"tensor fusion of {N} columns of size {self.size} has {self.size + 1}^{N} × {width} = {weights:.2g} "
                f"weights ({4 * weights / 1e9:.2g} GB, four times that in training); at most {MOST_WEIGHTS:.2g} are "
                f"allowed. Type {_what_fits(N, width)}fusion='low_rank'"
            )
        self.narrow = narrowing(self.columns, width, size)
        self.linear = nn.Linear((self.size + 1) ** N, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        pooled, here = self.stacked(features, present)
        product = pooled.new_ones(len(pooled), 1)
        for place, column in enumerate(self.columns):
            z = narrowed(self.narrow, column, pooled[:, place], here[:, place])
            with_one = torch.cat([z, z.new_ones(len(z), 1)], 1)  # float[B, size + 1]
            product = (product[:, :, None] * with_one[:, None, :]).flatten(1)
        return joined(self.dropout(self.linear(product)), here)


def narrowing(columns: Sequence[str], width: int, size: int | None) -> nn.ModuleDict:
    """A linear map a column to the size at which they are multiplied; empty for None."""
    return nn.ModuleDict({} if size is None else {column: nn.Linear(width, size) for column in columns})


def narrowed(narrow: nn.ModuleDict, column: str, pooled: Tensor, here: Tensor) -> Tensor:
    """float[B, W] -> float[B, size], zeros where absent (the map's bias stands nowhere)."""
    if column not in narrow:
        return pooled
    found: Tensor = narrow[column](pooled).masked_fill(~here[:, None], 0.0)
    return found


def _what_fits(N: int, width: int) -> str:
    """The option that would pass, if any."""
    size = 1
    while (size + 2) ** N * width <= MOST_WEIGHTS:
        size += 1
    return f"options={{'size': {size}}} or less, or " if (size + 1) ** N * width <= MOST_WEIGHTS else ""
