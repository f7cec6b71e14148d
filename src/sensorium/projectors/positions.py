"""Which place a token has, told by learned vectors: in a square map (`GridPositions`), in time (`TimePositions`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.projectors.projector import Projector, from_tokens, real


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


class TimePositions(Projector):
    """Features[B, T, D] -> Features[B, T, D]: a learned vector for its place in time, added to every token.

        token t ──(+)──► token + places[t]

    For frames that an encoder saw one by one, whose order nothing else tells. Tokens beyond the last place share its
    vector.
    """

    def __init__(self, width: int, places: int, spread: float = 0.02) -> None:
        super().__init__()
        if places < 1:
            raise ValueError(f"got places={places}; expected at least 1")
        self.width = width
        self.places = nn.Parameter(torch.randn(places, width) * spread)

    def forward(self, features: Features) -> Features:
        places = torch.arange(features.tokens.shape[1], device=features.tokens.device)
        added = self.places[places.clamp(max=len(self.places) - 1)]
        return from_tokens(real(features) + added.to(features.tokens.dtype), features.mask)
