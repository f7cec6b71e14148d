"""One affine map: of the pooled vector (`LinearHead`) or of every token (`LinearProjector`)."""

from __future__ import annotations

from torch import nn

from sensorium.features import Features
from sensorium.projectors.projector import Projector, from_tokens, real


class LinearHead(nn.Module):
    """Features[B, T, W] -> Features[B, 1, D]: `pooled @ weight.T + bias`; the tokens are left behind.

    linear: from the encoder's width W to the width D of the shared space. A closed-form alignment gives one
            ready (`Alignment.linear(column)`); `nn.Linear(W, D, bias=False)` is CLIP's.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.width = linear.out_features

    def forward(self, features: Features) -> Features:
        return Features.from_pooled(self.linear(features.pooled))


class LinearProjector(Projector):
    """Features[B, T, W] -> Features[B, T, D], token by token: LLaVA's first connector.

    linear: from the encoder's width W to the language model's D (Liu et al. 2023, arXiv:2304.08485, eq. 1)
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.width = linear.out_features

    def forward(self, features: Features) -> Features:
        return from_tokens(self.linear(real(features)), features.mask)
