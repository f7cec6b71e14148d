"""When one column learns faster than the others: it is slowed down, so that they are not left behind."""

from __future__ import annotations

import math
from typing import Any

import torch

from sensorium.objectives.consistency import Consistency
from sensorium.tasks import OneOf


class SlowedColumns:
    """(model, output, batch) -> {}, a term of `Supervised` without a loss: it scales gradients of the same pass.

    On-the-fly gradient modulation (Peng et al. 2022, arXiv:2203.15332, equations 8 to 10; without their noise). Each
    column's score s is the mean probability that it alone gives to the right label; against the mean of the other
    columns' scores,

        ρ = s / s_others        k = 1 − tanh(alpha · ρ) where ρ > 1, else 1

    The gradient that flows into a column's projected Features, and so into its projector and encoder, is multiplied
    by k. The paper reads s off the columns' shares of one linear layer; here all other columns are hidden, or the
    branches' own outputs are read, so that every fusion can be balanced.

    task: the `OneOf` that scores are taken on; rows without an answer do not count
    """

    def __init__(self, task: OneOf, alpha: float = 0.5) -> None:
        if not isinstance(task, OneOf):
            raise ValueError(f"{task.name}: got a task of kind {task.kind}; expected one_of")
        if not alpha >= 0:
            raise ValueError(f"alpha: got {alpha}; expected 0 (no change) or more")
        self.task, self.alpha = task, alpha

    def __call__(self, model: Any, output: Any, batch: Any) -> dict[str, torch.Tensor]:
        for name, factor in self.factors(model, output, batch).items():
            found = output.columns[name]
            same = (
                found.tokens.data_ptr() == found.pooled.data_ptr()
            )  # then the tokens' gradient passes there too
            for flowing in (found.pooled,) if same else (found.pooled, found.tokens):
                if factor < 1 and flowing.requires_grad:
                    flowing.register_hook(lambda gradient, factor=factor: gradient * factor)
        return {}

    @torch.no_grad()
    def factors(self, model: Any, output: Any, batch: Any) -> dict[str, float]:
        """k by column, of those that some row with an answer has; {} of a fusion whose branches are no columns."""
        targets, known = self.task.targets(batch.fields.get(self.task.field, [None] * len(batch)))
        views, here = Consistency([self.task]).views(model, output)
        if here.shape[1] != len(output.columns) or not known.any():
            return {}
        known = known.to(here.device)
        right = views[self.task.name][known].softmax(-1)  # [P, K, C]
        place = targets.to(here.device)[:, None, None].expand(-1, right.shape[1], 1)
        each, has = right.gather(2, place).squeeze(2), here[known]  # [P, K]
        scores = {
            name: each[has[:, n], n].mean().item() for n, name in enumerate(output.columns) if has[:, n].any()
        }
        found = {}
        for name, score in scores.items():
            others = [other for which, other in scores.items() if which != name]
            ratio = score / max(sum(others) / len(others), 1e-6) if others else 0.0
            found[name] = 1 - math.tanh(self.alpha * ratio) if ratio > 1 else 1.0
        return found
