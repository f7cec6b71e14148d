"""Scaled dot-product attention with several heads (Vaswani et al. 2017, arXiv:1706.03762, section 3.2).

B item, S query position, T key position, H head, E width of a head, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """x float[B, S, D], y float[B, T, K] -> float[B, S, D]: every position of x reads from those of y it may see.

        x ──► query ──┐
        y ──► key   ──┼──► softmax(q · k / √E) · v, a head at a time ──► output
          └─► value ──┘

    width, heads: D and H
    key_width:    K; None: D
    head_width:   E; None: D / H
    bias:         of all four maps; dropout: of the attention weights
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        key_width: int | None = None,
        head_width: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if head_width is None:
            if width % heads:
                raise ValueError(
                    f"got width={width}, heads={heads}; expected heads that divide the width, or head_width="
                )
            head_width = width // heads
        inner, key_width = heads * head_width, key_width or width
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, inner, bias=bias)
        self.key = nn.Linear(key_width, inner, bias=bias)
        self.value = nn.Linear(key_width, inner, bias=bias)
        self.output = nn.Linear(inner, width, bias=bias)

    def forward(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """y: None: x itself. mask: as in `attend`; a position that may see nothing adds nothing: zeros."""
        y = x if y is None else y
        dropout = self.dropout if self.training else 0.0
        read = attend(self.query(x), self.key(y), self.value(y), self.heads, mask, dropout)
        out: Tensor = self.output(read)
        if mask is None:
            return out
        seen = mask.any(-1)  # [B] or [B, S]: without anything to see, `output`'s bias is left out too
        seen = seen[:, None, None] if mask.dim() == 2 else seen[..., None]
        return out.masked_fill(~seen, 0.0)

    def weights(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """float[B, H, S, T]: how much each position of x takes of those of y, as `forward` without dropout."""
        return attention_weights(self.query(x), self.key(x if y is None else y), self.heads, mask)


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """float[B, S, H·E], float[B, T, H·E] twice -> float[B, S, H·E].

    mask: bool[B, T] for all queries alike, or bool[B, S, T]; True: may be seen. None: all.
          A query that may see nothing gets zeros, and no gradient comes from it.
    """
    B, S, D = query.shape
    q_BHSE, k_BHTE, v_BHTE = (
        x.view(B, x.shape[1], heads, D // heads).transpose(1, 2) for x in (query, key, value)
    )
    if mask is None:
        read_BHSE = F.scaled_dot_product_attention(q_BHSE, k_BHTE, v_BHTE, dropout_p=dropout)
    else:
        mask_BHST = mask[:, None, None, :] if mask.dim() == 2 else mask[:, None]
        seen_BHS1 = mask_BHST.any(-1, keepdim=True)
        # softmax over nothing is 0 / 0 in some kernels: such queries see everything first, then get zeros.
        read_BHSE = F.scaled_dot_product_attention(
            q_BHSE, k_BHTE, v_BHTE, attn_mask=mask_BHST | ~seen_BHS1, dropout_p=dropout
        )
        read_BHSE = torch.where(seen_BHS1, read_BHSE, torch.zeros_like(read_BHSE))
    return read_BHSE.transpose(1, 2).reshape(B, S, D)


def attention_weights(query: Tensor, key: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """float[B, S, H·E], float[B, T, H·E] -> float[B, H, S, T], the weights by which `attend` reads, mask as there.

    Each row sums to 1, or is zeros where a query may see nothing. For looking at: `attend` never makes them.
    """
    B, _, D = query.shape
    q_BHSE, k_BHTE = (x.view(B, x.shape[1], heads, D // heads).transpose(1, 2) for x in (query, key))
    logits_BHST = q_BHSE @ k_BHTE.transpose(2, 3) / math.sqrt(D // heads)
    if mask is None:
        return logits_BHST.softmax(-1)
    return masked_softmax(logits_BHST, mask[:, None, None, :] if mask.dim() == 2 else mask[:, None])


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """float[…, T], bool[…, T] -> float[…, T]: over the places that are True; zeros where none is, without nan."""
    nothing = ~mask.any(-1, keepdim=True)
    weights = logits.masked_fill(~(mask | nothing), float("-inf")).softmax(-1)
    return torch.where(mask, weights, torch.zeros_like(weights))
