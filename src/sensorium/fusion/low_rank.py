"""Low-rank tensor fusion: the full tensor's weights as a sum of products, never written out (`LowRank`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.fusion.early import joined
from sensorium.fusion.fusion import Fused, Fusion
from sensorium.fusion.tensor import narrowed, narrowing


class LowRank(Fusion):
    """Low-rank multimodal fusion (Liu et al. 2018, arXiv:1806.00064, section 3.2).

        pooled_n ──► [z_n ; 1] ──► factor_n (size + 1 -> rank × W) ──┐
        …                                                            ├──► product over n ──► sum over rank ──► fused
        pooled_N ──► [z_N ; 1] ──► factor_N (size + 1 -> rank × W) ──┘

    Equal to `TensorProduct` with the weights Σ_r ⊗_n factor_n[r]; of rank (size + 1)^(N-1) any weights can be had.
    An absent column is [0 ; 1]: the row keeps exactly the products of the columns it has.

    rank: of the weights
    size: of the vectors that are multiplied; None takes the columns as they come, without a linear map

    A factor is a linear layer whose bias is the row of the 1. Factors start so that products of every order, the
    columns by themselves included, come out of the size of the columns.
    """

    def __init__(
        self,
        columns: Sequence[str],
        width: int,
        dropout: float = 0.0,
        rank: int = 4,
        size: int | None = None,
    ) -> None:
        super().__init__(columns, width)
        self.rank, self.size = rank, width if size is None else size
        if self.rank < 1 or self.size < 1:
            raise ValueError(f"rank and size: got {rank} and {size}; expected whole numbers from 1 on")
        self.narrow = narrowing(self.columns, width, size)
        scale = rank ** (-0.5 / len(self.columns))  # each of N factors: their product ends in 1 / sqrt(rank)
        self.factors = nn.ModuleDict(
            {column: _factor(self.size, rank * width, scale) for column in self.columns}
        )
        self.bias = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        pooled, here = self.stacked(features, present)
        product: Tensor | None = None
        for place, column in enumerate(self.columns):
            z = narrowed(self.narrow, column, pooled[:, place], here[:, place])
            factor = self.factors[column](z)  # float[B, rank · W]
            product = factor if product is None else product * factor
        assert product is not None  # there is at least one column
        fused = product.view(len(pooled), self.rank, self.width).sum(1) + self.bias
        return joined(self.dropout(fused), here)


def _factor(size: int, width: int, scale: float) -> nn.Linear:
    """Of [z ; 1] with z of unit size, half of the result's variance comes from z and half from the 1."""
    factor = nn.Linear(size, width)
    nn.init.normal_(factor.weight, std=scale * size**-0.5)
    nn.init.normal_(factor.bias, std=scale)
    return factor
