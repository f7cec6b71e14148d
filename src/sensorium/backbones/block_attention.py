"""Attention that skips what a mask rules out: packed conversations see themselves only.

Shapes: B rows, L positions, H query heads, G key heads, E channels a head; N positions of one block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NAME = "sensorium_blocks"  # among the attention functions of `transformers`
FITS = (
    "llama",
    "qwen2",
)  # `config.model_type`: attention is softmax(q kᵀ · scale + mask) v, and nothing more
AT_LEAST = (
    64  # positions of a block, as far as its row has them: many small ones cost more than what they skip
)

Block = tuple[int, int, int]  # row, first position, end


def register() -> None:
    """Make the name known to `transformers`. Masks are those of its eager attention."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, eager_mask)


def chosen(lm: Any) -> bool:
    return bool(lm.config._attn_implementation == NAME)


def blocks(attend: Tensor) -> list[Block]:
    """The stretches of rows that do not see each other. attend: bool[B, L, L], causal."""
    L = attend.shape[1]
    first = attend.to(torch.uint8).argmax(-1)  # int64[B, L], the first position that each one sees
    reach = first.flip(1).cummin(1).values.flip(1)  # … that it or any one behind it sees
    begins = reach == torch.arange(L, device=attend.device)
    found: list[Block] = []
    for row, starts in enumerate(begins.tolist()):
        start = 0
        for end in [place for place, begin in enumerate(starts) if begin and place] + [L]:
            if end - start >= AT_LEAST or end == L:
                found.append((row, start, end))
                start = end
    return found


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    blocks: list[Block] | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """An attention function of `transformers`: query [B, H, L, E], key and value [B, G, L, E] -> [B, L, H, E].

    Without blocks (no mask, or a cache), and with dropout, it is their eager one.
    """
    if blocks is None or dropout or attention_mask is None:
        from transformers.models.llama.modeling_llama import eager_attention_forward

        out, _ = eager_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout
        )
        return out, None
    return _BlockAttention.apply(query, key, value, attention_mask, scaling, blocks), None


class _BlockAttention(torch.autograd.Function):
    """softmax(scale · q kᵀ + mask) v in every block; the query heads that share a key stand as its rows."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float, blocks: list[Block]
    ) -> Tensor:
        B, H, L, E = query.shape
        G = key.shape[1]
        out = query.new_empty(B, L, H, E)
        mask, shares = mask.to(query.dtype), []
        for row, start, end in blocks:
            N, here = end - start, slice(start, end)
            q = (query[row, :, here] * scale).reshape(G, -1, E)  # [G, H / G · N, E]
            scores = (q @ key[row, :, here].mT).view(H, N, N).add_(mask[row, :, here, here])
            share = scores.softmax(-1).view(G, -1, N)
            out[row, here] = (share @ value[row, :, here]).view(H, N, E).transpose(0, 1)
            shares.append(share)
        ctx.save_for_backward(query, key, value, *shares)
        ctx.scale, ctx.blocks = scale, blocks
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *shares = ctx.saved_tensors
        _, H, _, E = query.shape
        G = key.shape[1]
        to_query, to_key, to_value = (torch.empty_like(of) for of in (query, key, value))
        for (row, start, end), share in zip(ctx.blocks, shares):
            N, here = end - start, slice(start, end)
            q, k, v = query[row, :, here].reshape(G, -1, E), key[row, :, here], value[row, :, here]
            from_out = gradient[row, here].transpose(0, 1).reshape(G, -1, E)
            to_value[row, :, here] = share.mT @ from_out
            to_scores = torch._softmax_backward_data(from_out @ v.mT, share, -1, share.dtype).mul_(ctx.scale)
            to_query[row, :, here] = (to_scores @ k).view(H, N, E)
            to_key[row, :, here] = to_scores.mT @ q
        return to_query, to_key, to_value, None, None, None
