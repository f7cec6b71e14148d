"""Linear layers laid out for reading one row at a time: in float32, bfloat16, 8 or 4 bits.

weight float[O, I] ──pack──► (x float[R, I] -> float[R, O])

With a single row a linear layer is as fast as its weights come from memory, so fewer bytes are more speed. The
layouts are those of PyTorch's own CPU kernels (oneDNN's blocks; `_weight_int8pack_mm`, `_weight_int4pack_mm_for_cpu`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

PRECISIONS = ("fp32", "bf16", "int8", "int4")
GROUP = 32  # weights that share a scale and an offset in 4 bits; that of GGUF's Q4_1
LEVELS = 15  # steps between the least and the greatest 4-bit number
# Told of a single row, oneDNN leaves float32 weights in their order, for a kernel that is up to a third slower; told of
# more it puts them in blocks, as it does with bfloat16 in any case. The order of sums differs.
ROWS_TO_BLOCK_FOR = 16
ROWS_TO_DEQUANTISE = 8  # from so many rows on, the integer kernels lose to bfloat16's

Linear = Callable[[Tensor], Tensor]


def dtype_of(precision: str) -> torch.dtype:
    """What activations are computed in. Raises ValueError for an unknown precision."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}; expected one of {', '.join(PRECISIONS)}")
    return torch.float32 if precision == "fp32" else torch.bfloat16


def pack(weight: Tensor, precision: str) -> Linear:
    """A linear layer without bias, for rows [R, I] of `dtype_of(precision)`.

    int8: one scale an output, symmetric. int4: one scale and offset for every 32 inputs of an output; weights that
    came from a Q4_0 or Q4_1 file keep their levels but for the scales' rounding to bfloat16. Both keep a bfloat16
    copy beside, which reads prompts (eight rows and more).
    """
    plain = _plain(weight.detach().to(dtype_of(precision)))
    if precision == "int8":
        return _few_or_many(_int8(weight.detach().float()), plain)
    if precision == "int4" and weight.shape[1] % GROUP == 0 and weight.shape[0] % GROUP == 0:
        return _few_or_many(_int4(weight.detach().float()), plain)
    return plain


def _few_or_many(few: Linear, many: Linear) -> Linear:
    return lambda rows: few(rows) if len(rows) < ROWS_TO_DEQUANTISE else many(rows)


def _plain(weight: Tensor) -> Linear:
    if not torch.backends.mkldnn.is_available():
        return lambda rows: F.linear(rows, weight)
    blocked = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), ROWS_TO_BLOCK_FOR)
    linear = torch.ops.mkldnn._linear_pointwise.default
    return lambda rows: linear(rows, blocked, None, "none", [], "")


def _int8(weight: Tensor) -> Linear:
    levels, scale = eight_bits(weight)
    linear = torch.ops.aten._weight_int8pack_mm.default
    return lambda rows: linear(rows, levels, scale)


def eight_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """float32[O, I] -> levels int8[O, I] from -127 to 127, scale bfloat16[O]."""
    scale = (weight.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny).bfloat16()
    levels = (weight / scale.float()[:, None]).round().clamp(-127, 127)
    return levels.to(torch.int8), scale


def _int4(weight: Tensor) -> Linear:
    levels, scale, low = _levels(weight)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels, 1)
    # The kernel computes (level - 8) · scale + zero.
    scale_and_zero = torch.stack([scale, low + 8 * scale], -1).transpose(0, 1).contiguous().bfloat16()
    linear = torch.ops.aten._weight_int4pack_mm_for_cpu.default
    return lambda rows: linear(rows, packed, GROUP, scale_and_zero)


def _levels(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """float[O, I] -> levels int32[O, I] from 0 to 15, scale and least value float[O, I / 32]."""
    O, I = weight.shape
    grouped = weight.view(O, I // GROUP, GROUP)
    low, high = grouped.amin(-1), grouped.amax(-1)
    scale = ((high - low) / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
    levels = ((grouped - low[..., None]) / scale[..., None]).round().clamp(0, LEVELS)
    return levels.to(torch.int32).view(O, I), scale, low
