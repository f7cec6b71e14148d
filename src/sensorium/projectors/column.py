"""From an encoder's width to a fusion's, tokens and pooled vector alike (`ColumnProjector`)."""

from __future__ import annotations

from torch import Tensor, nn

from sensorium.features import Features
from sensorium.projectors.projector import Projector, real


class ColumnProjector(Projector):
    """Features[B, T, W] -> Features[B, T, D], where the pooled vector is mapped as the tokens are.

        layer norm ──► linear (W -> D) ──► GELU ──► dropout

    Unlike a connector's, `pooled` stays the encoder's own pooling: a fusion reads it beside the tokens. The norm
    brings encoders of any scale to one.
    """

    def __init__(self, in_width: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(in_width)
        self.linear = nn.Linear(in_width, width)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Features) -> Features:
        pooled = self._mapped(features.pooled)
        if features.tokens.shape[1] == 1 and features.tokens.data_ptr() == features.pooled.data_ptr():
            return Features(pooled[:, None], features.mask, pooled)  # read from a cache of pooled vectors
        tokens = self._mapped(real(features)).masked_fill(~features.mask[..., None], 0.0)
        return Features(tokens, features.mask, pooled)

    def _mapped(self, x: Tensor) -> Tensor:
        mapped: Tensor = self.dropout(self.activation(self.linear(self.norm(x))))
        return mapped
