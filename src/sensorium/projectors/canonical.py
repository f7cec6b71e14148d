"""`CanonicalHead`: the pooled vector into canonical coordinates, then through a trained mixing of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.features import Features


class CanonicalHead(nn.Module):
    """Features[B, T, W] -> Features[B, 1, D]; the tokens are left behind.

        pooled ──► canonical (W -> D, fixed) ──► mix (D -> D, trained) ──► pooled'

    canonical: the whitened coordinates of a closed-form alignment (`align(..., power=0)`)
    mix:       starts as diag(weights), so that the head starts *as* the closed form and training only adds to it.
               In whitened coordinates every direction has like variance, so one learning rate suits them all.
    """

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.canonical = nn.Linear(width, rank).requires_grad_(False)
        self.mix = nn.Linear(rank, rank, bias=False)
        self.width = rank

    def start(self, mean: Tensor, matrix: Tensor, weights: Tensor) -> None:
        """Set the closed form: x -> ((x − mean) @ matrix) · weights. float[W], float[W, D], float[D]."""
        with torch.no_grad():
            self.canonical.weight.copy_(matrix.T)
            self.canonical.bias.copy_(-mean @ matrix)
            self.mix.weight.copy_(torch.diag(weights))

    def forward(self, features: Features) -> Features:
        return Features.from_pooled(self.mix(self.canonical(features.pooled)))
