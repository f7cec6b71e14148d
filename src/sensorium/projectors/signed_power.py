"""`SignedPower`: the pooled vector's entries pressed together before a head sees them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sensorium.features import Features


class SignedPower(nn.Module):
    """Features[B, T, W] -> Features[B, 1, D]: `head(signed_power(pooled))`; the tokens are left behind.

    Pooled activations of a ReLU network are sparse and of heavy tail, so that a few large entries rule
    every inner product. Their square root evens that out, as it does for Fisher vectors (Perronnin et al.
    2010, §3.2). On EfficientNet-Lite0's features of the bundled emoji it is worth about four points of R@1
    to a closed-form alignment; fit that on `signed_power(pooled)` too.

    head: Features -> Features, of `width` D
    """

    def __init__(self, head: Any, exponent: float = 0.5, soft: float = 0.01) -> None:
        super().__init__()
        self.head, self.exponent, self.soft = head, exponent, soft
        self.width = int(head.width)

    def forward(self, features: Features) -> Features:
        warped: Features = self.head(
            Features.from_pooled(signed_power(features.pooled, self.exponent, self.soft))
        )
        return warped


def signed_power(x: Tensor, exponent: float = 0.5, soft: float = 0.01) -> Tensor:
    """sign(x) · ((|x| + soft)^exponent − soft^exponent), elementwise. `soft` keeps the slope at 0 finite."""
    return x.sign() * ((x.abs() + soft) ** exponent - soft**exponent)
