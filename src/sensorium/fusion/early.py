"""Early fusion: columns are joined before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from sensorium.features import Features
from sensorium.fusion.fusion import Fused, Fusion


def two_layers(in_width: int, width: int, dropout: float = 0.0) -> nn.Sequential:
    """linear ──► GELU ──► dropout ──► linear: what stands behind a plain join, so that kinds differ in the join."""
    return nn.Sequential(nn.Linear(in_width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width))


class Concatenation(Fusion):
    """The pooled vectors end to end, through two layers.

        [pooled_1 ; … ; pooled_N] ──► linear ──► GELU ──► dropout ──► linear ──► fused

    An absent column is zeros.
    """

    def __init__(self, columns: Sequence[str], width: int, dropout: float = 0.0) -> None:
        super().__init__(columns, width)
        self.layers = two_layers(len(self.columns) * width, width, dropout)

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        pooled, here = self.stacked(features, present)
        return joined(self.layers(pooled.flatten(1)), here)


class Mean(Fusion):
    """The mean of the pooled vectors that are present, through two layers: the simplest join, blind to which is which.

        mean(pooled_n : n present) ──► linear ──► GELU ──► dropout ──► linear ──► fused

    gates: 1 / (columns present), the same for each
    """

    def __init__(self, columns: Sequence[str], width: int, dropout: float = 0.0) -> None:
        super().__init__(columns, width)
        self.layers = two_layers(width, width, dropout)

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        pooled, here = self.stacked(features, present)
        gates = here / here.sum(1, keepdim=True).clamp(min=1)  # float[B, N]
        return joined(self.layers((gates[..., None] * pooled).sum(1)), here, gates)


def joined(vectors: Tensor, here: Tensor, gates: Tensor | None = None) -> Fused:
    """float[B, W] and bool[B, N], which columns each was made of -> one branch, zeros where there was none."""
    some = here.any(1)
    if not some.all():
        vectors = vectors.masked_fill(~some[:, None], 0.0)
    return Fused({"fused": Features.from_pooled(vectors)}, {"fused": some}, gates)
