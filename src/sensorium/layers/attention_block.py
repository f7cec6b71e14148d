"""Attention and feed-forward, each behind a norm and beside a residual (`AttentionBlock`)."""

from __future__ import annotations

from torch import Tensor, nn

from sensorium.layers.attention import Attention
from sensorium.layers.transformer import FeedForward


class AttentionBlock(nn.Module):
    """x float[B, S, D], y float[B, T, D] -> float[B, S, D]: one pre-norm transformer layer, of itself or crossed.

        x ─┬─► norm ──► attention ──► (+) ─┬─► norm ──► feed-forward ──► (+)
           └────────────────┬─────────► ┘   └──────────────────────────► ┘
        y ─────► norm ──────┘

    Vaswani et al. 2017 with the norms in front (Xiong et al. 2020, arXiv:2002.04745, figure 1b).

    width, heads: D and H; hidden: inside the feed-forward, None: 2 · D; dropout: of both branches
    """

    def __init__(self, width: int, heads: int, *, hidden: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden or 2 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """y, mask: as in `Attention`. A position that may see nothing keeps what it has."""
        x = x + self.dropout(self.attention(self.norm(x), None if y is None else self.norm(y), mask))
        out: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return out

    def weights(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """float[B, H, S, T]."""
        return self.attention.weights(self.norm(x), None if y is None else self.norm(y), mask)
