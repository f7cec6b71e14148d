"""Feature-wise linear modulation: one column says how the others are to be read (`Film`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.fusion.early import joined, two_layers
from sensorium.fusion.fusion import Fused, Fusion


class Film(Fusion):
    """One column scales and shifts the units of the others (Perez et al. 2018, arXiv:1709.07871, eqs. 1 and 2).

        by    ──► linear ──► γ_n, β_n (for each other column n)
        other ──► (1 + γ_n) ⊙ pooled_n + β_n ──┐
        by    ─────────────────────────────────┴──► end to end ──► linear ──► GELU ──► dropout ──► linear ──► fused

    by: the column that modulates; None: "text" if there is one (a question asked of a picture), else the last

    The maps to γ and β start at zero: every column is then read as it is, and so it stays in a row without `by`. The
    modulating column is joined with the others, so that a row that has nothing else is answered too.
    """

    def __init__(
        self, columns: Sequence[str], width: int, dropout: float = 0.0, by: str | None = None
    ) -> None:
        super().__init__(columns, width)
        self.by = ("text" if "text" in self.columns else self.columns[-1]) if by is None else by
        if self.by not in self.columns:
            raise ValueError(f"by: got {by!r}; expected one of the columns {', '.join(self.columns)}")
        self.others = tuple(column for column in self.columns if column != self.by)
        self.modulation = nn.ModuleDict({column: nn.Linear(width, 2 * width) for column in self.others})
        for parameter in self.modulation.parameters():
            nn.init.zeros_(parameter)
        self.layers = two_layers(len(self.columns) * width, width, dropout)

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        pooled, here = self.stacked(features, present)
        each = dict(zip(self.columns, pooled.unbind(1)))
        for column in self.others:
            both = here[:, self.columns.index(self.by)] & here[:, self.columns.index(column)]
            modulation = self.modulation[column](each[self.by]).masked_fill(~both[:, None], 0.0)
            scale, shift = modulation.chunk(2, -1)  # γ, β: float[B, W] each
            each[column] = (1 + scale) * each[column] + shift
        return joined(self.layers(torch.cat([each[column] for column in self.columns], 1)), here)
