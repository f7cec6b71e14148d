"""Early fusion: columns are joined before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from sensorium.features import Features
from sensorium.fusion.fusion import Fused, Fusion


class Concatenation(Fusion):
    """The pooled vectors end to end, through two layers.

        [pooled_1 ; … ; pooled_N] ──► linear ──► GELU ──► dropout ──► linear ──► fused

    An absent column is zeros.
    """

    def __init__(self, columns: Sequence[str], width: int, dropout: float = 0.0) -> None:
        super().__init__(columns, width)
        self.layers = nn.Sequential(
            nn.Linear(len(self.columns) * width, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
        )

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        pooled, here = self.stacked(features, present)
        any_here = here.any(1)
        fused = self.layers(pooled.flatten(1)).masked_fill(~any_here[:, None], 0.0)
        return Fused({"fused": Features.from_pooled(fused)}, {"fused": any_here})
