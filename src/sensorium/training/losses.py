"""The losses of a batch and their explicit weighted sum, as the one module that is wrapped for several
processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.training.adaptation import matches
from sensorium.training.run import Objective, TrainingError, name_of


class WeightedLosses(nn.Module):
    """batch -> (total, named losses).

        batch ──► objective(model, batch) ──► {name: loss} ──► Σ weight(name) · loss ──► total

    The objectives are called with the model itself, inside this forward: so whatever of the model they use,
    its gradients are averaged over the processes once this module is wrapped.
    """

    def __init__(
        self,
        model: nn.Module,
        objectives: Sequence[Objective],
        weights: Mapping[str, float] | None,
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.model, self.objectives, self.weights, self.autocast = model, tuple(objectives), weights, autocast

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """total: float[]; losses: float[] each, detached.

        When no objective finds anything to compare the losses are empty, and total is 0 with gradients of 0:
        the other processes still wait for them.
        """
        device = next(self.model.parameters()).device
        losses: dict[str, Tensor] = {}
        with torch.autocast(device.type, self.autocast, enabled=self.autocast is not None):
            for objective in self.objectives:
                for name, loss in objective(self.model, batch).items():
                    if name in losses:
                        raise TrainingError(
                            f"two objectives give a loss named {name!r}; give one of them another name"
                        )
                    if loss.dim() != 0:
                        raise TrainingError(
                            f"loss {name!r} of {name_of(objective)} has shape {tuple(loss.shape)}; expected "
                            "a scalar: take its mean"
                        )
                    losses[name] = loss.float()
        total = torch.zeros((), device=device)
        if not losses:
            total = total + sum(0 * p.sum() for p in self.model.parameters() if p.requires_grad)
        for name, loss in losses.items():
            total = total + self.weight(name) * loss
        return total, {name: loss.detach() for name, loss in losses.items()}

    def weight(self, name: str) -> float:
        """The factor of a loss: of its own name, else of the first pattern that matches it."""
        if self.weights is None:
            return 1.0
        if name in self.weights:
            return self.weights[name]
        for pattern, weight in self.weights.items():
            if matches(name, pattern):
                return weight
        raise TrainingError(
            f"loss {name!r} has no weight; weights has {', '.join(self.weights) or 'none'}: add {name!r}: "
            "1.0 (0.0 to only watch it)"
        )
