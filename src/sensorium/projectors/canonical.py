"""`CanonicalHead`: canonical coordinates, a trained mixing of them, and a recall of the training examples like it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.features import Features


class Recall(nn.Module):
    """What other modalities were where this one looked, sounded or read like x: attention over training examples.

        x float[B, D] ──► · weights, / |·| ──► softmax(sharpness · x K') V ──► · share ──► float[B, D]

    keys K:    float[M, D] of unit length, the training examples of this modality in the closed form's space
    values V:  float[M, D], the same examples there in other modalities. 0 until `remember`: nothing is recalled
    weights:   float[D], canonical coordinates -> the closed form's space
    share, sharpness: saved with the memory, since vectors depend on them

    A cache of key-value pairs as in Tip-Adapter (Zhang et al. 2022, arXiv:2111.03930, eq. 4-6); there values are
    one-hot classes.
    """

    keys: Tensor
    values: Tensor
    weights: Tensor
    share: Tensor
    sharpness: Tensor

    def __init__(self, remembered: int, rank: int, share: float, sharpness: float) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(remembered, rank))
        self.register_buffer("values", torch.zeros(remembered, rank))
        self.register_buffer("weights", torch.ones(rank))
        self.register_buffer("share", torch.tensor(share))
        self.register_buffer("sharpness", torch.tensor(sharpness))

    def remember(self, keys: Tensor, values: Tensor, weights: Tensor) -> None:
        """float[M, D], float[M, D], float[D]; M as built. Raises ValueError when that does not fit."""
        for name, given in (("keys", keys), ("values", values), ("weights", weights)):
            kept = getattr(self, name)
            if given.shape != kept.shape:
                raise ValueError(f"{name}: got {tuple(given.shape)}, built for {tuple(kept.shape)}")
            kept.copy_(given)

    def forward(self, coordinates: Tensor) -> Tensor:
        x = F.normalize(coordinates * self.weights, dim=-1)
        return self.share * ((self.sharpness * x @ self.keys.T).softmax(-1) @ self.values)


class CanonicalHead(nn.Module):
    """Features[B, T, W] -> Features[B, 1, D]; the tokens are left behind.

        pooled ──► canonical (W -> D, fixed) ─┬─► dropout, mix (D -> D, trained), / |·| ──► + ──► pooled'
                                              └─► recall (fixed), if there is one ──────────┘

    canonical: the whitened coordinates of a closed-form alignment (`align(..., power=0)`)
    mix:       starts as diag(weights), so that the head starts *as* the closed form and training only adds to it.
               In whitened coordinates every direction has like variance, so one learning rate suits them all.
    recall:    left out in training mode, where each example would recall itself
    dropout:   of coordinates, for a column that has few training examples
    """

    def __init__(self, width: int, rank: int, recall: Recall | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.canonical = nn.Linear(width, rank).requires_grad_(False)
        self.mix = nn.Linear(rank, rank, bias=False)
        self.recall = recall
        self.dropout = nn.Dropout(dropout)
        self.width = rank

    def start(self, mean: Tensor, matrix: Tensor, weights: Tensor) -> None:
        """Set the closed form: x -> ((x − mean) @ matrix) · weights. float[W], float[W, D], float[D]."""
        with torch.no_grad():
            self.canonical.weight.copy_(matrix.T)
            self.canonical.bias.copy_(-mean @ matrix)
            self.mix.weight.copy_(torch.diag(weights))

    def forward(self, features: Features) -> Features:
        coordinates = self.canonical(features.pooled)
        pooled = self.mix(self.dropout(coordinates))
        if self.recall is not None and not self.training:
            pooled = F.normalize(pooled, dim=-1) + self.recall(coordinates)
        return Features.from_pooled(pooled)
