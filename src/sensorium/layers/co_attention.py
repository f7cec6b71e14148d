"""Co-attention: two streams read each other at once. B item, S position of x, T position of y, D width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.layers.attention import Attention, masked_softmax


class CoAttention(nn.Module):
    """x float[B, S, D], y float[B, T, K] -> what x reads in y float[B, S, D], what y reads in x float[B, T, K].

        x ──► queries ─────► softmax ──► of x, from y
          ├─► keys, values ─┐   ▲
        y ──► keys, values ─┼───┘
          └─► queries ──────┴► softmax ──► of y, from x

    The co-attentional layer of ViLBERT (Lu et al. 2019, arXiv:1908.02265, figure 2b): both read what the other was
    before either had read. As in `Attention`, the residuals are the caller's.

    width, heads: D and H; other_width: K, None: D; heads divide both. dropout: of the attention weights
    """

    def __init__(
        self, width: int, heads: int, *, other_width: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        other = other_width or width
        self.of_x = Attention(width, heads, key_width=other, dropout=dropout)
        self.of_y = Attention(other, heads, key_width=width, dropout=dropout)

    def forward(
        self, x: Tensor, y: Tensor, mask: Tensor | None = None, x_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """mask: bool[B, T] of y, x_mask: bool[B, S] of x; a stream with nothing real gives the other zeros."""
        return self.of_x(x, y, mask), self.of_y(y, x, x_mask)

    def weights(
        self, x: Tensor, y: Tensor, mask: Tensor | None = None, x_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """float[B, H, S, T] of x in y, float[B, H, T, S] of y in x."""
        return self.of_x.weights(x, y, mask), self.of_y.weights(y, x, x_mask)


class ParallelCoAttention(nn.Module):
    """x float[B, S, D], y float[B, T, K] -> float[B, D], float[B, K]: one vector a stream, each chosen by the other.

        C   = tanh(x W_b yᵀ)                            [S, T], how well positions fit
        H_x = tanh(x W_x + C (y W_y))                   [S, I]
        H_y = tanh(y W_y + Cᵀ (x W_x))                  [T, I]
        x̂   = Σ softmax(H_x w_x) · x,  ŷ = Σ softmax(H_y w_y) · y

    Parallel co-attention of Lu et al. 2016 (arXiv:1606.00061, equations 3 to 5).

    width: D; other_width: K, None: D; inner: I, None: D
    """

    def __init__(self, width: int, *, other_width: int | None = None, inner: int | None = None) -> None:
        super().__init__()
        other, inner = other_width or width, inner or width
        self.fit = nn.Linear(width, other, bias=False)
        self.map_x, self.map_y = nn.Linear(width, inner, bias=False), nn.Linear(other, inner, bias=False)
        self.score_x, self.score_y = nn.Linear(inner, 1, bias=False), nn.Linear(inner, 1, bias=False)

    def forward(
        self, x: Tensor, y: Tensor, mask: Tensor | None = None, x_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """mask: bool[B, T] of y, x_mask: bool[B, S] of x; a stream with nothing real is zeros."""
        of_x, of_y = self.weights(x, y, mask, x_mask)
        return (of_x[:, 0] @ x)[:, 0], (of_y[:, 0] @ y)[:, 0]

    def weights(
        self, x: Tensor, y: Tensor, mask: Tensor | None = None, x_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """float[B, 1, 1, S] of x's positions, float[B, 1, 1, T] of y's: each stream has one query, one head."""
        mask = y.new_ones(y.shape[:2], dtype=torch.bool) if mask is None else mask
        x_mask = x.new_ones(x.shape[:2], dtype=torch.bool) if x_mask is None else x_mask
        both_BST = x_mask[:, :, None] & mask[:, None, :]
        fit_BST = torch.tanh(self.fit(x) @ y.transpose(1, 2)).masked_fill(~both_BST, 0.0)
        mapped_x, mapped_y = self.map_x(x), self.map_y(y)
        hidden_x = torch.tanh(mapped_x + fit_BST @ mapped_y)
        hidden_y = torch.tanh(mapped_y + fit_BST.transpose(1, 2) @ mapped_x)
        of_x = masked_softmax(self.score_x(hidden_x)[..., 0], x_mask)
        of_y = masked_softmax(self.score_y(hidden_y)[..., 0], mask)
        return of_x[:, None, None], of_y[:, None, None]
