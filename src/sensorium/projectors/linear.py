"""`LinearHead`: the pooled vector through one affine map."""

from __future__ import annotations

from torch import nn

from sensorium.features import Features


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
