"""Attention behind a gate, which learns how much of what is read may pass. B item, S position, D width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.layers.attention import Attention


class GatedAttention(nn.Module):
    """x float[B, S, D], y float[B, T, K] -> x + tanh(α) · attention(x, y), one learned α, 0 at the start.

    The gate of Flamingo's cross-attention layers (Alayrac et al. 2022, arXiv:2204.14198, figure 4): a layer put into
    a trained model changes nothing until training opens it. α itself learns from the first step; the maps do from
    the second on.

    Arguments as of `Attention`.
    """

    def __init__(self, width: int, heads: int, *, key_width: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = Attention(width, heads, key_width=key_width, dropout=dropout)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """mask: as in `Attention`; a position that may see nothing stays what it is."""
        return x + torch.tanh(self.alpha) * self.attention(x, y, mask)

    def gates(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """float[B], -1 to 1, the same for every item."""
        return torch.tanh(self.alpha).expand(len(x))

    def weights(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """float[B, H, S, T], before the gate."""
        return self.attention.weights(x, y, mask)


class SampleGatedAttention(nn.Module):
    """x float[B, S, D], y float[B, T, K] -> x + g · read, where each item has a gate g of its own, 0 to 1.

        read = attention(x, y)
        g    = σ(w · [mean of x ; mean of read] + b)

    The gated multimodal unit's sigmoid (Arevalo et al. 2017, arXiv:1702.01992, section 3.1), one number an item, on
    what attention brings: another stream that does not help this item is shut out, and `gates` shows it.

    Arguments as of `Attention`.
    """

    def __init__(self, width: int, heads: int, *, key_width: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = Attention(width, heads, key_width=key_width, dropout=dropout)
        self.gate = nn.Linear(2 * width, 1)

    def forward(
        self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None, x_mask: Tensor | None = None
    ) -> Tensor:
        """mask: as in `Attention`; x_mask: bool[B, S], which of x are real, for the means; None: all, or `mask`
        where x reads itself by a bool[B, S].
        """
        read = self.attention(x, y, mask)
        return x + self._gates(x, read, self._own(x_mask, y, mask))[:, None, None] * read

    def gates(
        self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None, x_mask: Tensor | None = None
    ) -> Tensor:
        """float[B], 0 to 1: how much passes."""
        return self._gates(x, self.attention(x, y, mask), self._own(x_mask, y, mask))

    def weights(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """float[B, H, S, T], before the gate."""
        return self.attention.weights(x, y, mask)

    def _own(self, x_mask: Tensor | None, y: Tensor | None, mask: Tensor | None) -> Tensor | None:
        if x_mask is None and y is None and mask is not None and mask.dim() == 2:
            return mask
        return x_mask

    def _gates(self, x: Tensor, read: Tensor, x_mask: Tensor | None) -> Tensor:
        if x_mask is None:
            means = [x.mean(1), read.mean(1)]
        else:
            count = x_mask.sum(1, keepdim=True).clamp(min=1)
            means = [part.masked_fill(~x_mask[..., None], 0.0).sum(1) / count for part in (x, read)]
        return torch.sigmoid(self.gate(torch.cat(means, -1)))[:, 0]
