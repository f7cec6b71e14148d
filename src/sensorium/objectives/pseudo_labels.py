"""Learning from rows without a label: what the model is sure of becomes their label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from sensorium.objectives.column_views import noised, seen, without_one
from sensorium.tasks import OneOf, Task


class PseudoLabels:
    """(model, output, batch) -> {"pseudo/<task>": float[]}, a term of `Supervised` for `OneOf` tasks.

    FixMatch (Sohn et al. 2020, arXiv:2001.07685, equation 4) on Features instead of pictures: of the U rows without
    an answer, whose prediction is q = p(y | row),

        L = 1/U Σ 1[max q ≥ threshold] · CE(argmax q, p(y | the row made hard))

    A row is made hard by hiding one of its columns by chance, where it has two, and by noise on what the projectors
    give. q is the shared pass's, without a gradient. Above the paper's picture augmentation stands modality dropout:
    the columns of a row label each other.

    tasks:     of the model, `OneOf` each
    threshold: from which probability a prediction counts as sure
    noise:     its standard deviation, in units of the spread of each vector

    Draws from the global random state, as dropout does. Raises ValueError for tasks of another kind.
    """

    def __init__(self, tasks: Sequence[Task], threshold: float = 0.95, noise: float = 0.1) -> None:
        if others := [task.name for task in tasks if not isinstance(task, OneOf)]:
            raise ValueError(
                f"pseudo-labels for {', '.join(others)}: expected tasks with one label of several (one_of); give "
                "only those"
            )
        if not 0 <= threshold <= 1 or noise < 0:
            raise ValueError(f"threshold {threshold}, noise {noise}: expected a probability and 0 or more")
        self.tasks, self.threshold, self.noise = tuple(tasks), threshold, noise

    def __call__(self, model: Any, output: Any, batch: Any) -> dict[str, Tensor]:
        hard: Any = None
        losses = {}
        for task in self.tasks:
            _, known = task.targets(batch.fields.get(task.field, [None] * len(batch)))
            unknown = ~known.to(output.outputs[task.name].device)
            if not unknown.any():
                continue
            if hard is None:
                left, _ = without_one(output.present)
                hard = model.answer(seen(noised(output.columns, self.noise), left), left)
            sure, guess = output.outputs[task.name][unknown].detach().softmax(-1).max(-1)
            each = F.cross_entropy(hard.outputs[task.name][unknown], guess, reduction="none")
            losses[f"pseudo/{task.name}"] = (each * (sure >= self.threshold)).mean()
        return losses
