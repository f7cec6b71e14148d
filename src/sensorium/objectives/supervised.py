"""Learning from labels: the mean loss of every task over the rows whose answer is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.tasks import Task

Term = Callable[[nn.Module, Any, Any], dict[str, Tensor]]


class Supervised:
    """(model, batch) -> {task: loss}, over one forward pass that further terms share.

    tasks: each with a head in the model (`FusionNetwork.tasks`); a task none of whose answers is known in a batch
           gives no loss
    terms: further losses of the same pass, `(model, output, batch) -> named losses`: consistency, pseudo-labels
    class_weights: by task, float[C], a factor for the rows of each label of a `OneOf` (the mean weighs them too)
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        terms: Sequence[Term] = (),
        class_weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.tasks, self.terms, self.class_weights = tuple(tasks), tuple(terms), dict(class_weights or {})

    def __call__(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        output = model(batch)
        losses = {}
        for task in self.tasks:
            targets, known = task.targets(batch.fields.get(task.field, [None] * len(batch)))
            if not known.any():
                continue
            outputs = output.outputs[task.name]
            if not known.all():
                outputs = outputs[known.to(outputs.device)]
            each = task.loss(outputs, targets.to(outputs.device))
            losses[task.name] = self._mean(task, each, targets)
        for term in self.terms:
            losses |= term(model, output, batch)
        return losses

    def _mean(self, task: Task, each: Tensor, targets: Tensor) -> Tensor:
        if task.name not in self.class_weights:
            return each.mean()
        factor = torch.as_tensor(self.class_weights[task.name], dtype=each.dtype)[targets].to(each.device)
        return (each * factor).sum() / factor.sum()
