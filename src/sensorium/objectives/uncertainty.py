"""Several tasks at once, each weighed by how uncertain the model is of it, which it learns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sensorium.objectives.supervised import Supervised
from sensorium.tasks import Box, Number, Task


class UncertaintyWeighted(Supervised):
    """(model, batch) -> {task: float[]}: a `Supervised` whose task losses carry learned weights.

    With s = log σ² of a task, a parameter of the model (`FusionNetwork(uncertainty=True)`), Kendall et al. 2018
    (arXiv:1705.07115, equations 7 and 10):

        OneOf, AnyOf   e^−s · L + s / 2       a softmax of temperature σ²
        Number, Box    e^−s · L / 2 + s / 2   a Gaussian of variance σ²

    A task's loss is at its least at e^s = 2 L (of a number, L): what cannot be learned well counts less, and s / 2
    keeps the weights from going to zero. The loss may be negative. Terms are not weighed.

    Raises ValueError for a model without log variances.
    """

    def __call__(self, model: Any, batch: Any) -> dict[str, Tensor]:
        if model.log_variances is None:
            raise ValueError(
                f"{type(model).__name__} has no log variances; build it with uncertainty=True, or use Supervised"
            )
        losses = super().__call__(model, batch)
        for task in self.tasks:
            if task.name in losses:
                losses[task.name] = weighed(task, losses[task.name], model.log_variances[task.name])
        return losses


def weighed(task: Task, loss: Tensor, log_variance: Tensor) -> Tensor:
    """A task's mean loss float[] and s = log σ² float[] -> float[]."""
    half = 0.5 if isinstance(task, Number | Box) else 1.0
    return half * torch.exp(-log_variance) * loss + log_variance / 2
