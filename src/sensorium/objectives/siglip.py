"""SigLIP's sigmoid loss over every pair of columns: do these two rows mean the same, yes or no?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from sensorium.objectives.chunked import check_chunk, sum_over_rows
from sensorium.objectives.column_pairs import EmbeddingsLike, PairWeights, column_pairs
from sensorium.objectives.global_batch import mean_over_processes, world_size


@dataclass(frozen=True)
class SigLIP:
    """(model, batch) -> {"siglip/picture-caption": float[], …}; the total loss is their sum.

    Zhai et al. 2023 (arXiv:2303.15343), §3.2, over the N rows that have both columns of a pair, with z_ij = 1
    where rows i and j share a meaning (and for i = j) and −1 elsewhere:

        L = weight · −1/N Σ_i Σ_j log σ( z_ij · (scale · x_i · y_j + bias) )

    Several positives a row need nothing special: every pair of rows is a question of its own. Build the
    model with `scale=10, bias=-10, max_scale=None`, as the paper starts: without a negative bias the N² − N
    negatives swamp the first steps.

    weights: by pair of columns; pairs that are not named are left out. None: every pair, with weight 1.
    chunk:   rows of logits at a time, None for all (see `sum_over_rows`): from a few thousand rows on, give
             512

    Under torch.distributed the rows are those of all processes. Sibling: `InfoNCE` lets the rows compete.

        objective = SigLIP(chunk=512)
        loss = sum(objective(model, batch).values())
    """

    weights: PairWeights | None = None
    chunk: int | None = None

    def __post_init__(self) -> None:
        check_chunk(self.chunk)

    def __call__(self, model: Callable[[Any], EmbeddingsLike], batch: Any) -> dict[str, Tensor]:
        return self.losses(model(batch), batch.meanings)

    def losses(self, embeddings: EmbeddingsLike, meanings: Tensor) -> dict[str, Tensor]:
        """The same of embeddings that are at hand. meanings: int64[B, K], -1 where there is none."""
        losses = {}
        for name, weight, pair in column_pairs(embeddings, meanings, self.weights):
            logit = (embeddings.scale, embeddings.bias, pair.positives, self.chunk)
            total = sum_over_rows(siglip_sum, siglip_sum_and_gradient, pair.x, pair.all_y, *logit)
            share = world_size() / max(len(pair.all_x), 1)
            losses[f"siglip/{name}"] = mean_over_processes(total * (weight * share))
        return losses


def siglip_sum(logits: Tensor, positives: Tensor) -> Tensor:
    """logits float[n, N], positives bool[n, N] -> float[], the sum of −log σ(± logits)."""
    return -F.logsigmoid(logits.where(positives, -logits)).sum()


def siglip_sum_and_gradient(logits: Tensor, positives: Tensor) -> tuple[Tensor, Tensor]:
    """`siglip_sum` and its gradient float[n, N], written over the logits: ∓σ(∓ logits)."""
    row, column = positives.nonzero(as_tuple=True)
    logits[row, column] *= -1
    total = F.softplus(logits).sum()
    gradient = logits.sigmoid_()
    gradient[row, column] *= -1
    return total, gradient
