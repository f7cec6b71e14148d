"""Gated fusion: each row says how much it takes of each column (`Gated`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from sensorium.features import Features
from sensorium.fusion.early import joined
from sensorium.fusion.fusion import Fused, Fusion


class Gated(Fusion):
    """The gated multimodal unit of any number of columns (Arevalo et al. 2017, arXiv:1702.01992, section 3).

        pooled_n ──► linear ──► tanh ──────────────────────────────► h_n ──┐
        [pooled_1 ; … ; pooled_N] ──► linear ──► softmax over the present ──┴──► Σ_n z_n ⊙ h_n ──► dropout ──► fused

    gates: z_n float[B, W] weighs every one of the W units by itself; `Fused.gates` is its mean over the units. They sum
           to 1 over the columns present and are 0 where absent.

    With two columns this is the paper's z ⊙ h_1 + (1 - z) ⊙ h_2, since σ(a) = softmax(a, 0). For more the paper takes
    sigmoids that need not sum to 1; here they do, so that gates of different rows can be compared.
    """

    def __init__(self, columns: Sequence[str], width: int, dropout: float = 0.0) -> None:
        super().__init__(columns, width)
        N = len(self.columns)
        self.layers = nn.ModuleDict({column: nn.Linear(width, width) for column in self.columns})
        self.gate = nn.Linear(N * width, N * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        pooled, here = self.stacked(features, present)
        some = here.any(1, keepdim=True)
        away = (~here & some)[
            ..., None
        ]  # a row without any column has no gates at all, not a softmax of nothing
        asked = self.gate(pooled.flatten(1)).view_as(pooled).float()
        gates = asked.masked_fill(away, -math.inf).softmax(1)  # float[B, N, W]
        units = [layer(pooled[:, place]).tanh() for place, layer in enumerate(self.layers.values())]
        fused = sum(gates[:, place] * unit for place, unit in enumerate(units))
        return joined(self.dropout(fused), here, gates.mean(-1).masked_fill(~here, 0.0))
