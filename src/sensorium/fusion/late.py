"""Late fusion: each column predicts by itself, and the predictions are joined.

    pooled_1 ──► two layers ──► head ──► prediction_1 ──┐
    …                                                   ├──► average, product or learned average ──► output
    pooled_N ──► two layers ──► head ──► prediction_N ──┘

An absent column has no say. A row without any gets what zeros stand for: every label alike, the middle of a
number's scale, a box in the middle of the picture (from `Product` its prior).

Outputs stay what `Task.loss` and `Task.probabilities` take: log-probabilities of a `OneOf`, logits of the joined
probabilities of an `AnyOf`, of the joined shares of a `Box`, the joined number of a `Number`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.fusion.early import two_layers
from sensorium.fusion.fusion import Fused, Fusion
from sensorium.tasks import AnyOf, Box, OneOf, Task


class Late(Fusion):
    """One branch a column; what joins them is the subclass's."""

    def __init__(self, columns: Sequence[str], width: int, dropout: float = 0.0) -> None:
        super().__init__(columns, width)
        self.branches = self.columns
        self.layers = nn.ModuleDict({column: two_layers(width, width, dropout) for column in self.columns})

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        seen = {column: present[column] for column in self.columns}
        gates = self.gates(torch.stack(list(seen.values()), 1))
        return Fused(own_branches(self.layers, features, present), seen, gates)

    def gates(self, present: Tensor) -> Tensor | None:
        """bool[B, N] -> float[B, N], the share of each column's prediction in the joined one."""
        raise NotImplementedError


class Weighted(Late):
    """The weighted average of the predictions of the columns present; where the weights are from is the subclass's.

    log_weights: float[N]; the weights are their softmax over the columns present
    """

    log_weights: Tensor

    def gates(self, present: Tensor) -> Tensor:
        return log_shares(self.log_weights, present).exp().masked_fill(~present, 0.0)

    def combine(self, outputs: Tensor, present: Tensor, task: Task) -> Tensor:
        return mixture(outputs, present, self.log_weights, task)


class Average(Weighted):
    """The weighted average of the predictions of the columns present, with fixed weights.

    weights: by column, above 0, need not sum to 1; None: all alike
    """

    def __init__(
        self,
        columns: Sequence[str],
        width: int,
        dropout: float = 0.0,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(columns, width, dropout)
        given = dict.fromkeys(self.columns, 1.0) if weights is None else dict(weights)
        if set(given) != set(self.columns) or not all(0 < weight < math.inf for weight in given.values()):
            raise ValueError(
                f"weights: got {given}; expected a number above 0 for each of {', '.join(self.columns)}"
            )
        logs = torch.tensor([math.log(given[column]) for column in self.columns])
        self.register_buffer("log_weights", logs, persistent=False)


class Learned(Weighted):
    """The weighted average of the predictions of the columns present, with one learned weight a column.

    The weights are the softmax, over the columns present, of one learned number each, shared by all tasks.
    """

    def __init__(self, columns: Sequence[str], width: int, dropout: float = 0.0) -> None:
        super().__init__(columns, width, dropout)
        self.log_weights = nn.Parameter(torch.zeros(len(self.columns)))


class Product(Late):
    """The product of experts: columns that are independent given the answer (naive Bayes), K of them present.

        p(y | x_1 … x_K)  ∝  Π_k p(y | x_k) / p(y)^(K-1)

    of a `OneOf`, of each label of an `AnyOf` for itself. Of numbers and boxes, which come without a spread, each is a
    Gaussian of the same precision, whose product has their mean. Hinton 2002 (doi:10.1162/089976602760128018);
    Kittler et al. 1998 (doi:10.1109/34.667881), the product rule.

    priors: by task name the p(y) of each label, above 0 (and below 1), in the order of its labels: `[0.7, 0.2, 0.1]`;
            a task without has one that favours nothing. Take the shares in the training data.
    """

    def __init__(
        self,
        columns: Sequence[str],
        width: int,
        dropout: float = 0.0,
        priors: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__(columns, width, dropout)
        self.priors = {task: tuple(float(p) for p in prior) for task, prior in (priors or {}).items()}
        for task, prior in self.priors.items():
            if not all(0 < p < 1 for p in prior):
                raise ValueError(
                    f"priors of {task!r}: got {list(prior)}; expected numbers between 0 and 1, one a label"
                )

    def gates(self, present: Tensor) -> None:
        """None: no column has a share, each can veto."""
        return

    def combine(self, outputs: Tensor, present: Tensor, task: Task) -> Tensor:
        if not isinstance(task, OneOf | AnyOf):
            return mixture(outputs, present, outputs.new_zeros(outputs.shape[1]), task)
        each = outputs.masked_fill(~present[..., None], 0.0)
        if isinstance(task, OneOf):
            each = each.log_softmax(-1)
        prior = self._prior(task).to(each)
        others = present.sum(1, keepdim=True) - 1  # K - 1 of each row; -1 leaves the prior itself
        product = each.masked_fill(~present[..., None], 0.0).sum(1) - others * prior
        return product.log_softmax(-1) if isinstance(task, OneOf) else product

    def _prior(self, task: OneOf | AnyOf) -> Tensor:
        """float[C]: its logarithm for a `OneOf`, its logit for an `AnyOf`."""
        if task.name not in self.priors:
            return torch.zeros(task.width)
        prior = torch.tensor(self.priors[task.name])
        if len(prior) != task.width:
            raise ValueError(
                f"priors of {task.name!r}: got {len(prior)}; expected {task.width}, one for each of its labels"
            )
        return (prior / prior.sum()).log() if isinstance(task, OneOf) else prior.logit()


def own_branches(
    layers: nn.ModuleDict, features: Mapping[str, Features], present: Mapping[str, Tensor]
) -> dict[str, Features]:
    """A branch for each column that has layers: its pooled vector through them, zeros where it is absent."""
    found = {}
    for column, of_column in layers.items():
        pooled, here = features[column].pooled, present[column][:, None]
        if here.all():
            vectors = of_column(pooled)
        else:
            vectors = of_column(pooled.masked_fill(~here, 0.0)).masked_fill(~here, 0.0)
        found[column] = Features.from_pooled(vectors)
    return found


def log_shares(log_weights: Tensor, present: Tensor) -> Tensor:
    """float[K] and bool[B, K] -> float[B, K]: log of what each counts in a row, summing to 1 over those present.

    -inf where absent; in a row without any, as if all were present (they are then zeros).
    """
    away = ~present & present.any(1, keepdim=True)
    return log_weights.expand(present.shape).masked_fill(away, -math.inf).log_softmax(1)


def mixture(outputs: Tensor, present: Tensor, log_weights: Tensor, task: Task) -> Tensor:
    """The weighted average of K predictions, float[B, K, C] and bool[B, K] -> float[B, C] as `Task.loss` takes it.

    OneOf         log Σ w_k softmax(o_k)
    AnyOf, Box    logit(Σ w_k sigmoid(o_k))
    else          Σ w_k o_k
    """
    each = outputs.masked_fill(~present[..., None], 0.0)
    logs = log_shares(log_weights, present)[..., None]  # float[B, K, 1]
    if isinstance(task, OneOf):
        return (each.log_softmax(-1) + logs).logsumexp(1)
    if isinstance(
        task, AnyOf | Box
    ):  # log p - log (1 - p), each a sum of positive terms: exact also near 0 and 1
        return (F.logsigmoid(each) + logs).logsumexp(1) - (F.logsigmoid(-each) + logs).logsumexp(1)
    return (logs.exp() * each).sum(1)
