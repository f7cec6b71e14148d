"""Rows of every process: what a contrastive loss needs to see the whole batch.

How losses are scaled so that W processes give the single process's numbers: each process computes the loss
of its own rows against all rows, times W over the number of all rows. `gather_rows` adds up the gradients
that a row gets in every process, and data-parallel training averages the parameters' gradients over the
processes: the W cancels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def world_size() -> int:
    """How many processes train together; 1 when torch.distributed is not in use."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_rows(rows: Tensor, padding: int = 0) -> tuple[Tensor, int]:
    """This process's [n, D] -> every process's rows [N, D] in order of process, and where its own begin.

    n may differ between processes, and so may D of integer rows (then padded with `padding`). Gradients of
    float rows flow back to the process that they came from, added up over all processes.
    """
    shape = torch.tensor(rows.shape, device=rows.device)
    shapes = [torch.empty_like(shape) for _ in range(world_size())]
    dist.all_gather(shapes, shape)
    counts, widths = torch.stack(shapes).T.tolist()
    n, D = rows.shape
    padded = F.pad(rows, (0, max(widths) - D, 0, max(counts) - n), value=padding)
    if padded.is_floating_point():
        if torch.is_grad_enabled() and not padded.requires_grad:
            # The backward pass is collective: a process whose rows need no gradient (it has none, say) must
            # take part in it all the same, or the others wait for it for ever.
            padded.requires_grad_()
        gathered = _AllGather.apply(padded)
    else:
        gathered = _all_gather(padded)
    everyone = torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])
    return everyone, sum(counts[: dist.get_rank()])


def mean_over_processes(value: Tensor) -> Tensor:
    """The value of the mean over processes with the gradient of this process's own: for what is logged."""
    if world_size() == 1:
        return value
    mean = value.detach().clone()
    dist.all_reduce(mean)
    return value + (mean / world_size() - value.detach())


def _all_gather(rows: Tensor) -> Tensor:
    """[n, D] -> [W, n, D]."""
    rows = rows.contiguous()
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows)
    return torch.stack(parts)


class _AllGather(torch.autograd.Function):
    """[n, D] -> [W, n, D]; backward: the sum over processes of the gradient of this process's part."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return _all_gather(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient[dist.get_rank()]
