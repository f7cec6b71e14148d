"""Features by the mean and the spread of the training rows (`Standardized`)."""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.features import Features
from sensorium.projectors.projector import Projector, real

LEAST = 1e-6  # of the largest spread: a number that varies by less does so by rounding only, and is left out


class Standardized(Projector):
    """Features[B, T, W] -> Features[B, T, W], each number less its mean, over its spread, as measured once.

    What a linear head then reads is of one scale whatever the encoder, so that one learning rate suits all. Like the
    batch norm in front of a linear probe (He et al. 2021, MAE, appendix A.1), but it depends on no batch: until `fit`
    it changes nothing, afterwards it is fixed. Saved with the weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fit(self, pooled: Tensor) -> None:
        """float[N, W] of the training rows. Raises ValueError when none of the numbers varies."""
        spread = pooled.std(0, correction=0)
        if not bool(spread.max() > 0):
            raise ValueError(
                f"{len(pooled)} training rows have one and the same vector; expected rows that differ"
            )
        self.mean.copy_(pooled.mean(0))
        self.scale.copy_(torch.where(spread > LEAST * spread.max(), 1 / spread, 0.0))

    def forward(self, features: Features) -> Features:
        tokens = ((real(features) - self.mean) * self.scale).masked_fill(~features.mask[..., None], 0.0)
        return Features(tokens, features.mask, (features.pooled - self.mean) * self.scale)
