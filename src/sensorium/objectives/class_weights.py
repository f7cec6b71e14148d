"""How much the rows of each label count, so that rare labels are not drowned.

counts of the labels -> float[C], for `Supervised(class_weights={task: …})`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sensorium.tasks import OneOf


def class_weights(counts: Sequence[int] | Tensor, beta: float | None = None) -> Tensor:
    """int[C] rows a label -> float[C], which add up to the number of labels that occur.

    beta: None gives the inverse frequency, 1 / n. A number from 0 up to below 1 gives one over the effective number
          of rows, (1 - beta) / (1 - beta^n) (Cui et al. 2019, arXiv:1901.05555, equation 3): rows of a frequent
          label overlap, and count as 1 / (1 - beta) rows at most. 0 is no weighting, towards 1 the inverse frequency

    A label without rows has weight 0: there is nothing to weigh.
    Raises ValueError for counts below 0 or all 0, and beta out of range.

        class_weights([90, 10])             0.2, 1.8
        class_weights([90, 10], beta=0.9)   0.79, 1.21
    """
    n = torch.as_tensor(counts, dtype=torch.float64)
    if n.dim() != 1 or (n < 0).any() or not (n > 0).any():
        raise ValueError(f"counts: got {n.tolist()}; expected how many rows each label has, some above 0")
    if beta is not None and not 0 <= beta < 1:
        raise ValueError(f"beta: got {beta}; expected a number from 0 to below 1, or None for 1 / count")
    number = n if beta is None else (1 - beta**n) / (1 - beta)
    weights = torch.where(n > 0, 1 / number.clamp(min=1e-12), 0.0)
    return (weights * (n > 0).sum() / weights.sum()).float()


def counts_of(task: OneOf, values: Sequence[Any]) -> Tensor:
    """Answers of N rows, None where unknown -> int64[C], rows a label. Raises ValueError for an unknown label."""
    targets, _ = task.targets(values)
    return torch.bincount(targets, minlength=task.width)
