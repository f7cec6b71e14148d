"""Sums over all pairs of two long lists of vectors, a few rows at a time, with the gradients of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Sum = Callable[[Tensor, Tensor], Tensor]
"""logits float[n, N], positives bool[n, N] -> float[], a sum over rows that are independent of each other."""

SumAndGradient = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""The same and its gradient with respect to the logits, float[n, N]; may overwrite the logits."""

Positives = Callable[[int, int], Tensor]
"""start, stop -> bool[stop - start, N], the positives of those rows."""


def sum_over_rows(
    plain: Sum,
    by_hand: SumAndGradient,
    x: Tensor,
    y: Tensor,
    scale: Tensor,
    bias: Tensor,
    positives: Positives,
    chunk: int | None,
) -> Tensor:
    """plain(scale · x y' + bias, positives) -> float[].

    x: float[n, D]; y: float[N, D]; scale, bias: float[]
    chunk: None: `plain` on all rows at once, and autograd. A number: so many rows at a time through
           `by_hand`, so that no more than chunk × N logits ever exist, neither in the forward pass nor in
           the backward: gradients are taken while the logits are at hand, and N² floats become (n + N) · D.
           Loss and gradients equal the plain form's up to the order of additions.

    Computed in float32 also under autocast: bf16 rounds a logit of 50 to a quarter.
    """
    with torch.autocast(x.device.type, enabled=False):
        if chunk is None:
            return plain(scale * (x @ y.T) + bias, positives(0, len(x)))
        total: Tensor = _Chunked.apply(x, y, scale, bias, by_hand, positives, chunk)
        return total


def check_chunk(chunk: int | None) -> None:
    """ValueError for a number of rows that cannot be."""
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk of {chunk} rows: give 1 or more, or None for all at once")


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor,
        scale: Tensor,
        bias: Tensor,
        by_hand: SumAndGradient,
        positives: Positives,
        chunk: int,
    ) -> Tensor:
        total, scale_gradient, bias_gradient = (torch.zeros_like(scale) for _ in range(3))
        x_gradient, y_gradient = torch.zeros_like(x), torch.zeros_like(y)
        for start in range(0, len(x), chunk):
            rows = x[start : start + chunk]
            scaled = scale * rows
            part, gradient = by_hand(torch.addmm(bias, scaled, y.T), positives(start, start + len(rows)))
            total += part
            towards_rows = gradient @ y
            scale_gradient += (towards_rows * rows).sum()
            bias_gradient += gradient.sum()
            x_gradient[start : start + chunk] = towards_rows.mul_(scale)
            y_gradient.addmm_(gradient.T, scaled)
        ctx.save_for_backward(x_gradient, y_gradient, scale_gradient, bias_gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *(gradient * saved for saved in ctx.saved_tensors), None, None, None
