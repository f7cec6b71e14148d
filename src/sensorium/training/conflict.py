"""The gradients of several losses apart: how far they disagree, and what to do about it.

named losses ──► a gradient each ──► cosine of each pair ──► sum (watch), or projected sum (project) ──► .grad

PCGrad (Yu et al. 2020, arXiv:2001.06782, algorithm 1): from the gradient of a loss, what goes against another's is
taken out, for all others in random order; what is left of every loss is added up. Without conflict (no cosine below
zero) that is the plain sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.training.run import Run, TrainingError

COSINE = "cosine/"  # in history.jsonl: "cosine/mood|strength"


class LossGradients:
    """The gradients of named losses over the batches of one step, kept apart until `merge`.

    Costs a backward pass and the memory of the trainable parameters for each loss. The cosines and the projection
    look at the parameters that two or more losses reach; a head that only its own loss reaches is not in dispute,
    and gets that loss's gradient as it is.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.apart: dict[str, Tensor] = {}  # float[S] of all parameters in a row
        self.reached: dict[str, Tensor] = {}  # bool[P], by parameter

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Weighted losses of one batch, float[] each, with their graph; those that nothing learns from are left out."""
        learning = {name: loss for name, loss in losses.items() if loss.requires_grad}
        for left, (name, loss) in enumerate(learning.items(), 1 - len(learning)):
            found = torch.autograd.grad(loss, self.parameters, retain_graph=left < 0, allow_unused=True)
            flat = torch.cat(
                [
                    (torch.zeros_like(parameter) if gradient is None else gradient).reshape(-1).float()
                    for parameter, gradient in zip(self.parameters, found)
                ]
            )
            reached = torch.tensor([gradient is not None for gradient in found])
            self.apart[name] = self.apart[name] + flat if name in self.apart else flat
            self.reached[name] = self.reached[name] | reached if name in self.reached else reached

    def merge(self, how: str, seed: int, step: int) -> dict[str, float]:
        """Give every parameter its gradient; returns the cosine of each pair of losses, as a record has it.

        how: "watch" adds the gradients up; "project" projects them first, in an order drawn from seed and step
        """
        sizes = torch.tensor([parameter.numel() for parameter in self.parameters])
        device = self.parameters[0].device
        total = sum(self.apart.values(), torch.zeros(int(sizes.sum()), device=device))
        cosines: dict[str, float] = {}
        if len(self.apart) > 1:
            shared = torch.stack(list(self.reached.values())).sum(0) > 1
            disputed = shared.repeat_interleave(sizes).to(device)
            apart = {name: gradient[disputed] for name, gradient in self.apart.items()}
            cosines = {
                f"{COSINE}{a}|{b}": cosine(apart[a], apart[b]).item() for a, b in combinations(apart, 2)
            }
            if how == "project":
                total[disputed] = sum(projected(apart, np.random.default_rng((seed, step))).values())
        for parameter, piece in zip(self.parameters, total.split(sizes.tolist())):
            parameter.grad = piece.view_as(parameter).to(parameter.dtype)
        return cosines


def projected(gradients: Mapping[str, Tensor], numbers: np.random.Generator) -> dict[str, Tensor]:
    """float[S] by name -> float[S] by name, what each keeps after the others have objected, in random order.

    g_i <- g_i − (g_i · g_j) / |g_j|² g_j   for every other j where g_i · g_j < 0
    """
    found = {}
    for name, mine in gradients.items():
        others = [gradient for other, gradient in gradients.items() if other != name]
        for place in numbers.permutation(len(others)):
            against = mine @ others[place]
            if against < 0:  # so the other is not zero
                mine = mine - against / (others[place] @ others[place]) * others[place]
        found[name] = mine
    return found


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """float[S] twice -> float[], 0 where one of them is zero."""
    return one @ other / (one.norm() * other.norm()).clamp(min=torch.finfo(one.dtype).tiny)


def check(run: Run, ranks: int) -> None:
    """Raise TrainingError for a run that asks for its gradients apart where they are not to be had."""
    if run.conflict is not None and ranks > 1:
        raise TrainingError(
            f"run {run.name!r}: conflict={run.conflict!r} with {ranks} processes; the gradients of each loss are "
            "kept apart in one process only: train in one, or set conflict=None"
        )
