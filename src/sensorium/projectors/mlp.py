"""`MlpHead`: the pooled vector through two layers, beside an affine map if one is given."""

from __future__ import annotations

from torch import nn

from sensorium.features import Features


class MlpHead(nn.Module):
    """Features[B, T, W] -> Features[B, 1, D]; the tokens are left behind.

        pooled ──► lift ──► activation ──► dropout ──► lower ──(+)──► pooled'
           └──────────────► skip, if given ─────────────────────┘

    lift:  W -> hidden; lower: hidden -> D
    skip:  W -> D, added to the result. With it, `lower` is set to zero, so that the head starts *as* the
           affine map (a closed-form alignment, say) and training only adds what that map lacks.
    """

    def __init__(
        self,
        lift: nn.Linear,
        lower: nn.Linear,
        *,
        activation: nn.Module | None = None,
        skip: nn.Linear | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.lift, self.lower, self.skip = lift, lower, skip
        self.activation = nn.GELU() if activation is None else activation
        self.dropout = nn.Dropout(dropout)
        self.width = lower.out_features
        if skip is not None:
            nn.init.zeros_(lower.weight)
            if lower.bias is not None:
                nn.init.zeros_(lower.bias)

    def forward(self, features: Features) -> Features:
        pooled = self.lower(self.dropout(self.activation(self.lift(features.pooled))))
        if self.skip is not None:
            pooled = pooled + self.skip(features.pooled)
        return Features.from_pooled(pooled)
