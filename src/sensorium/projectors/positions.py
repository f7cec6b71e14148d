"""`GridPositions`: says of every token of a square map in which row and column it stands."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.projectors.projector import Projector, from_tokens


class GridPositions(Projector):
    """Features[B, side², D] -> Features[B, side², D]: a learned vector for its row and one for its column, added.

        token (i, j) ──(+)──► token + rows[i] + columns[j]

    A language model counts positions along one line; without these, "left of" would be arithmetic on places modulo
    the side. Added after the projection, where words and pictures share a scale.
    """

    def __init__(self, width: int, side: int, spread: float = 0.02) -> None:
        super().__init__()
        if side < 1:
            raise ValueError(f"got side={side}; expected at least 1")
        self.width, self.side, self.length = width, side, side**2
        self.rows = nn.Parameter(torch.randn(side, width) * spread)
        self.columns = nn.Parameter(torch.randn(side, width) * spread)

    def table(self) -> Tensor:
        """float[side², D], read row by row."""
        return (self.rows[:, None] + self.columns[None]).flatten(0, 1)

    def forward(self, features: Features) -> Features:
        T = features.tokens.shape[1]
        if self.length != T:
            raise ValueError(
                f"got items of {T} tokens; expected a grid of {self.side} × {self.side} = {self.length}"
            )
        return from_tokens(features.tokens + self.table().to(features.tokens.dtype), features.mask)
