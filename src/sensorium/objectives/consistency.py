"""The penalty when columns disagree: what a picture says against what the words beside it say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from sensorium.objectives.column_views import only, seen
from sensorium.tasks import AnyOf, Box, OneOf, Task

How = Literal["js", "kl"]


class Consistency:
    """(model, output, batch) -> {"consistency/<task>": float[]}, a term of `Supervised`. Needs no labels.

    Of every row, the views v = 1 … K are the predictions that each of its columns gives: those of the branches where
    the fusion has several (late, hierarchical), else the model's with all other columns hidden. The loss is their
    disagreement, over the rows that have two or more:

        OneOf, AnyOf   js: H(mean_v p_v) − mean_v H(p_v), the Jensen–Shannon divergence (Lin 1991, equation 5.1)
                       kl: mean over ordered pairs of KL(p_v | p_w), the symmetric divergence
        Number, Box    mean_v |y_v − mean y|², in units of the head (a number's scale; shares of the picture): of two
                       views (y_1 − y_2)² / 4

    AnyOf compares every label by itself and takes the mean over labels. The views teach each other: gradients flow
    into all of them. Where a task cannot be told from one column (matching, irony), agreement is the wrong wish.

    tasks: of the model, to compare
    how:   "js" is bounded by log K; "kl" is not, and punishes confident disagreement hardest

        objective = Supervised(tasks, terms=[Consistency(tasks)])
        run = Run(…, objectives=[objective], weights={"consistency/*": 0.1, "*": 1.0})
    """

    def __init__(self, tasks: Sequence[Task], how: How = "js") -> None:
        if how not in ("js", "kl"):
            raise ValueError(f"how: got {how!r}; expected js or kl")
        self.tasks, self.how = tuple(tasks), how

    def __call__(self, model: Any, output: Any, batch: Any) -> dict[str, Tensor]:
        views, here = self.views(model, output)  # by task [B, K, C]; bool[B, K]
        rows = here.sum(1) > 1
        if not rows.any():
            return {}
        return {
            f"consistency/{task.name}": self.disagreement(task, views[task.name][rows], here[rows]).mean()
            for task in self.tasks
        }

    def views(self, model: Any, output: Any) -> tuple[dict[str, Tensor], Tensor]:
        """What each view answers: by task float[B, K, C], and bool[B, K], which views a row has."""
        branches = list(output.fused.branches)
        if len(branches) > 1:
            here = torch.stack([output.fused.present[branch] for branch in branches], 1)
            return {
                task.name: torch.stack([output.parts[task.name][branch] for branch in branches], 1)
                for task in self.tasks
            }, here & torch.stack(list(output.present.values()), 1).any(1, keepdim=True)
        alone = []
        for column in output.columns:
            kept = only(column, output.present)
            alone.append(model.answer(seen(output.columns, kept), kept).outputs)
        views = {task.name: torch.stack([one[task.name] for one in alone], 1) for task in self.tasks}
        return views, torch.stack(list(output.present.values()), 1)

    def disagreement(self, task: Task, views: Tensor, here: Tensor) -> Tensor:
        """float[R, K, C] outputs and bool[R, K], two or more a row -> float[R], 0 where the views are the same."""
        if isinstance(task, OneOf):
            return divergence(views.float().log_softmax(-1), here, self.how)
        if isinstance(task, AnyOf):
            logits = torch.stack([views.float(), torch.zeros_like(views.float())], -1)  # [R, K, C, yes or no]
            R, K, C, _ = logits.shape
            both = logits.log_softmax(-1).transpose(1, 2).reshape(R * C, K, 2)
            return divergence(both, here.repeat_interleave(C, 0), self.how).view(R, C).mean(1)
        values = views.float().sigmoid() if isinstance(task, Box) else views.float()
        weight = (here / here.sum(1, keepdim=True))[..., None]  # [R, K, 1]
        mean = (weight * values).sum(1, keepdim=True)
        return (weight * (values - mean).square()).sum((1, 2))


def divergence(log_p: Tensor, here: Tensor, how: How = "js") -> Tensor:
    """float[R, K, C] log-probabilities of K views, bool[R, K] which a row has (two or more) -> float[R], in nats."""
    n = here.sum(1)  # [R]
    there = here[..., None]
    p = log_p.exp() * there
    own = (p * log_p).sum((1, 2))  # Σ_v Σ_c p log p
    if how == "js":
        log_mean = log_p.masked_fill(~there, -torch.inf).logsumexp(1) - n[:, None].log()  # [R, C]
        return own / n - (log_mean.exp() * log_mean).sum(1)
    crossed = (p.sum(1) * (log_p * there).sum(1)).sum(1)  # Σ_v Σ_w Σ_c p_v log p_w
    return (n * own - crossed) / (n * (n - 1))
