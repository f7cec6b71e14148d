"""InfoNCE over every pair of columns: which of all rows means the same as this one?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.objectives.chunked import check_chunk, sum_over_rows
from sensorium.objectives.column_pairs import ColumnPair, EmbeddingsLike, PairWeights, column_pairs
from sensorium.objectives.global_batch import mean_over_processes, world_size


@dataclass(frozen=True)
class InfoNCE:
    """(model, batch) -> {"info_nce/picture-caption": float[], …}; the total loss is their sum.

    For a pair of columns, logits s_ij = scale · x_i · y_j + bias over the N rows that have both, the
    positives P(i) of row i (itself and all rows that share a meaning with it) and its negatives, the other
    rows:

        L(x -> y) = 1/N Σ_i 1/|P(i)| Σ_{p in P(i)} −log( e^{s_ip} / (e^{s_ip} + Σ_{n not in P(i)} e^{s_in}) )
        L = weight · (L(x -> y) + L(y -> x)) / 2

    With one positive a row that is CLIP's loss (Radford et al. 2021, figure 3). With several it is SINCERE
    (Feeney and Hughes 2023, arXiv:2309.14277): a positive never stands in the denominator of another, so
    that rows of one meaning do not push each other away, as they do in SupCon (Khosla et al. 2020, eq. 2),
    whose minimum is log |P| instead of 0.

    weights: by pair of columns; pairs that are not named are left out. None: every pair, with weight 1.
    label_smoothing: ε of the target goes evenly to the positive and all negatives, as in F.cross_entropy
    anchors: columns that stand still in pairs with any other: what joins the space later does not bend it (locked
        towers, Zhai et al. 2022, arXiv:2111.07991; ImageBind's order of things, Girdhar et al. 2023)
    chunk: rows of logits at a time, None for all (see `sum_over_rows`): from a few thousand rows on, give 512

    Under torch.distributed the rows are those of all processes. Siblings: `SigLIP` decides each pair of
    rows for itself; `canonical_correlation.align` needs no gradient.

        objective = InfoNCE(weights={("picture", "caption"): 1.0, ("picture", "speech"): 0.5})
        loss = sum(objective(model, batch).values())
    """

    weights: PairWeights | None = None
    label_smoothing: float = 0.0
    chunk: int | None = None
    anchors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing {self.label_smoothing}: give 0 <= label_smoothing < 1")
        check_chunk(self.chunk)

    def __call__(self, model: Callable[[Any], EmbeddingsLike], batch: Any) -> dict[str, Tensor]:
        return self.losses(model(batch), batch.meanings)

    def losses(self, embeddings: EmbeddingsLike, meanings: Tensor) -> dict[str, Tensor]:
        """The same of embeddings that are at hand. meanings: int64[B, K], -1 where there is none."""
        losses = {}
        for name, weight, pair in column_pairs(embeddings, meanings, self.weights, self.anchors):
            share = world_size() / max(len(pair.all_x), 1)
            both_ways = self._both_ways(pair, embeddings.scale, embeddings.bias)
            losses[f"info_nce/{name}"] = mean_over_processes(both_ways * (weight * share / 2))
        return losses

    def _both_ways(self, pair: ColumnPair, scale: Tensor, bias: Tensor) -> Tensor:
        """The sum over this process's rows of x -> y and of y -> x, float[]."""
        plain = partial(info_nce_sum, label_smoothing=self.label_smoothing)
        by_hand = partial(info_nce_sum_and_gradient, label_smoothing=self.label_smoothing)
        if self.chunk is None and pair.x is pair.all_x:  # one process: both ways read the same logits

            def both(logits: Tensor, positives: Tensor) -> Tensor:
                return plain(logits, positives) + plain(logits.T, positives.T)

            return sum_over_rows(both, by_hand, pair.x, pair.y, scale, bias, pair.positives, None)
        there = sum_over_rows(plain, by_hand, pair.x, pair.all_y, scale, bias, pair.positives, self.chunk)
        back = sum_over_rows(plain, by_hand, pair.y, pair.all_x, scale, bias, pair.positives, self.chunk)
        return there + back


def info_nce_sum(logits: Tensor, positives: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """logits float[n, N], positives bool[n, N] (at least one a row) -> float[], the sum over the n rows."""
    negatives = logits.masked_fill(positives, -torch.inf).logsumexp(1)
    row, column = positives.nonzero(as_tuple=True)
    own = logits[row, column]
    # −log(e^s / (e^s + Σ e^n)) = log(1 + e^(lse(n) − s)); without negatives, nothing to tell apart: 0
    losses = F.softplus(negatives[row] - own)
    if label_smoothing:
        others = logits.masked_fill(positives, 0.0).sum(1)
        candidates = 1 + (~positives).sum(1)
        losses = losses + label_smoothing * (own - (own + others[row]) / candidates[row])
    return (losses / positives.sum(1)[row]).sum()


def info_nce_sum_and_gradient(
    logits: Tensor, positives: Tensor, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """`info_nce_sum` and its gradient float[n, N], written over the logits: five passes over one matrix.

    With d_p = lse(negatives) − s_p and P positives: ∂/∂s_p = −σ(d_p) / P, and what the positives gain is
    taken from the negatives in the shares of their softmax.
    """
    row, column = positives.nonzero(as_tuple=True)
    own, weight = logits[row, column], 1 / positives.sum(1)[row]
    others = logits.sum(1).index_add(0, row, -own)
    logits[row, column] = -torch.inf
    largest = logits.amax(1, keepdim=True).nan_to_num(neginf=0.0)  # a row may be without negatives
    shares = logits.sub_(largest).exp_()
    sums = shares.sum(1, keepdim=True)
    difference = (largest + sums.log()).squeeze(1)[row] - own
    losses = F.softplus(difference)
    gained = difference.sigmoid() * weight
    given = torch.zeros_like(sums).index_add_(0, row, gained[:, None])
    gradient = shares.mul_(given / sums.clamp(min=torch.finfo(sums.dtype).tiny))
    towards = -gained
    if label_smoothing:
        candidates = 1 + (~positives).sum(1)
        losses = losses + label_smoothing * (own - (own + others[row]) / candidates[row])
        gradient -= label_smoothing / candidates[:, None]
        towards += label_smoothing * weight * (1 - 1 / candidates[row])
    gradient[row, column] = towards
    return (losses * weight).sum(), gradient
