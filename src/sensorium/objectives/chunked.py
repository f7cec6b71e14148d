"""Sums over all pairs of two long lists of vectors, a few rows at a time, with the gradients of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

RowsLoss = Callable[[Tensor, Tensor], Tensor]
"""logits float[n, N], positives bool[n, N] -> float[], a sum over rows that are independent of each other."""

Positives = Callable[[int, int], Tensor]
"""start, stop -> bool[stop - start, N], the positives of those rows."""


def sum_over_rows(
    loss: RowsLoss,
    x: Tensor,
    y: Tensor,
    scale: Tensor,
    bias: Tensor,
    positives: Positives,
    chunk: int | None,
) -> Tensor:
    """loss(scale · x y' + bias, positives) -> float[].

    x: float[n, D]; y: float[N, D]; scale, bias: float[]
    chunk: rows at a time; None: all at once. In chunks no more than chunk × N logits exist at any time, in
           the forward pass and in the backward: gradients are taken chunk by chunk while the logits are at
           hand, which costs no second forward. Loss and gradients equal the whole's up to the order of
           additions.

    Computed in float32 also under autocast: bf16 rounds a logit of 50 to a quarter.
    """
    with torch.autocast(x.device.type, enabled=False):
        if chunk is None:
            return loss(scale * (x @ y.T) + bias, positives(0, len(x)))
        return _Chunked.apply(x, y, scale, bias, loss, positives, chunk)


def check_chunk(chunk: int | None) -> None:
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
        loss: RowsLoss,
        positives: Positives,
        chunk: int,
    ) -> Tensor:
        with_gradients = any(ctx.needs_input_grad)
        total, scale_gradient, bias_gradient = (torch.zeros_like(scale) for _ in range(3))
        x_gradient, y_gradient = torch.zeros_like(x), torch.zeros_like(y)
        for start in range(0, len(x), chunk):
            rows = x[start : start + chunk]
            cosines = rows @ y.T
            logits = (scale * cosines + bias).requires_grad_(with_gradients)
            with torch.set_grad_enabled(with_gradients):
                part = loss(logits, positives(start, start + len(rows)))
            total += part.detach()
            if with_gradients:
                (gradient,) = torch.autograd.grad(part, logits)
                bias_gradient += gradient.sum()
                scale_gradient += (gradient * cosines).sum()
                gradient *= scale
                x_gradient[start : start + chunk] = gradient @ y
                y_gradient.addmm_(gradient.T, rows)
        ctx.save_for_backward(x_gradient, y_gradient, scale_gradient, bias_gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *(gradient * saved for saved in ctx.saved_tensors), None, None, None
