"""NT-Xent: which of all other views in the batch is the other view of this picture?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.objectives.global_batch import gather_rows, mean_over_processes, world_size


class ViewsLike(Protocol):
    """What a model of two views returns: float[B, D] each, of length 1."""

    @property
    def first(self) -> Tensor: ...
    @property
    def second(self) -> Tensor: ...


@dataclass(frozen=True)
class NTXent:
    """(model, batch) -> {"nt_xent": float[]}, the normalised temperature-scaled cross-entropy.

        ℓ(i, j) = −log( e^{z_i · z_j / τ} / Σ_{k ≠ i} e^{z_i · z_k / τ} )      over all 2B views z, |z| = 1
        L = mean over both views i of every picture, j being its other view

    Chen et al. 2020 (arXiv:2002.05709), equation 1. temperature: τ, 0.5 in the paper at small batches (table 5).
    Unlike `InfoNCE`, a view is also told from the views of its own kind: 2B − 2 negatives instead of B − 1. Under
    torch.distributed the views are those of all processes.
    """

    temperature: float = 0.5

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature: got {self.temperature}; expected a number above 0")

    def __call__(self, model: Callable[[Any], ViewsLike], batch: Any) -> dict[str, Tensor]:
        views = model(batch)
        return {"nt_xent": self.loss(views.first, views.second)}

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        """float[B, D] and float[B, D] of length 1 -> float[]."""
        B, start, all_first, all_second = len(first), 0, first, second
        if world_size() > 1:
            all_first, start = gather_rows(first)
            all_second, _ = gather_rows(second)
        everyone = torch.cat([all_first, all_second])  # [2N, D]
        N = len(all_first)
        rows = torch.arange(start, start + B, device=first.device)
        itself, other = torch.cat([rows, rows + N]), torch.cat([rows + N, rows])
        logits = torch.cat([first, second]) @ everyone.T / self.temperature
        logits = logits.scatter(1, itself[:, None], -torch.inf)
        own = F.cross_entropy(logits, other, reduction="sum")
        return mean_over_processes(own * (world_size() / (2 * N)))
