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

    anchored: what a batch does not use gets a gradient of zero rather than none. Processes whose rows lack
              different modalities then average the same gradients, in the same order, and after whatever the
              objectives exchange in their own backward pass (autograd runs the nodes made first last). It costs a
              pass over all weights: one process fills in what is missing after its backward pass instead
    attached: the named losses keep their graphs, for a gradient each
    """

    def __init__(
        self,
        model: nn.Module,
        objectives: Sequence[Objective],
        weights: Mapping[str, float] | None,
        autocast: torch.dtype | None = None,
        anchored: bool = True,
        attached: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.objectives, self.weights = model, tuple(objectives), weights
        self.autocast, self.anchored, self.attached = autocast, anchored, attached

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """total: float[]; losses: float[] each, not weighted, none when no objective found rows to compare."""
        device = next(self.model.parameters()).device
        losses: dict[str, Tensor] = {}
        total = torch.zeros((), device=device)
        if self.anchored:
            learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
            total = (
                total + 0 * torch.stack([parameter.reshape(-1)[0].float() for parameter in learning]).sum()
            )
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
        for loss in self.weighted(losses).values():
            total = total + loss
        return total, losses if self.attached else {name: loss.detach() for name, loss in losses.items()}

    def weighted(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each named loss adds to the total."""
        return {name: self.weight(name) * loss for name, loss in losses.items()}

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
