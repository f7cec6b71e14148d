"""Two layers: for the pooled vector (`MlpHead`) or for every token (`MlpProjector`)."""

from __future__ import annotations

from torch import nn

from sensorium.features import Features
from sensorium.projectors.projector import Projector, from_tokens, real


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


class MlpProjector(Projector):
    """Features[B, T, W] -> Features[B, T, D], token by token: LLaVA-1.5's connector.

        tokens ──► lift (W -> hidden) ──► activation ──► lower (hidden -> D) ──► tokens'

    Liu et al. 2023 (arXiv:2310.03744) take hidden = D and an exact GELU. `lift` and `lower` are
    the `linear_1` and `linear_2` of `transformers`' LlavaMultiModalProjector.
    """

    def __init__(self, lift: nn.Linear, lower: nn.Linear, *, activation: nn.Module | None = None) -> None:
        super().__init__()
        if lower.in_features != lift.out_features:
            raise ValueError(
                f"got lift {lift.in_features} -> {lift.out_features} and lower {lower.in_features} -> "
                f"{lower.out_features}; expected lower to take the {lift.out_features} that lift gives"
            )
        self.lift, self.lower = lift, lower
        self.activation = nn.GELU() if activation is None else activation
        self.width = lower.out_features

    def forward(self, features: Features) -> Features:
        tokens = self.lower(self.activation(self.lift(real(features))))
        return from_tokens(tokens, features.mask)
