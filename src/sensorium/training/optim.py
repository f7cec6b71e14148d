"""The optimiser: AdamW over named groups, the learning rate as a function of the step, the average of the
weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sensorium.training.adaptation import match
from sensorium.training.run import Run


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name (a shared one under its first name)."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def peak_rates(
    model: nn.Module, lr: float, part_lr: Mapping[str, float]
) -> dict[nn.Parameter, tuple[str, float]]:
    """Trainable parameter -> (the pattern that sets its rate, "" for the run's own; its peak learning rate).

    Raises TrainingError for a pattern that matches nothing that learns.
    """
    parameters = {n: p for n, p in model.named_parameters(remove_duplicate=False) if p.requires_grad}
    rates = dict.fromkeys(parameters.values(), ("", lr))
    for pattern, rate in part_lr.items():
        for name in match(parameters, pattern, "part_lr (of what learns)"):
            rates[parameters[name]] = (pattern, rate)
    return rates


def build(run: Run) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) over the trainable parameters.

    One group for each learning rate, with and without decay: parameters of fewer than two dimensions (biases,
    norms, scales, temperatures) are not decayed. Each group carries `part` (its pattern) and `peak` (its
    rate).
    """
    rates = peak_rates(run.model, run.lr, run.part_lr)
    groups: dict[tuple[str, float, float], list[nn.Parameter]] = {}
    for parameter, (part, peak) in rates.items():
        decay = run.weight_decay if parameter.dim() >= 2 else 0.0
        groups.setdefault((part, peak, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": members, "lr": peak, "weight_decay": decay, "part": part, "peak": peak}
            for (part, peak, decay), members in groups.items()
        ],
        betas=run.betas,
        eps=run.eps,
        # One pass over weights, gradients and both averages instead of a dozen: a third of the time and less. On
        # other devices torch chooses.
        fused=True if all(parameter.is_cpu for parameter in rates) else None,
    )


def schedule(run: Run, step: int) -> float:
    """The share of the peak rate that step number `step` (from 0) of the run uses.

    Linear warm-up, then constant; or half a cosine or a line to zero; or constant and, in the last `decay`
    share of the run, a line to zero (warmup-stable-decay: Hu et al. 2024, MiniCPM, section 4).
    """
    total = run.total_steps
    warmup = round(run.warmup * total) if run.warmup < 1 else round(run.warmup)
    if step < warmup:
        return (step + 1) / warmup
    if run.schedule == "constant":
        return 1.0
    if run.schedule == "warmup-stable-decay":
        falling = max(1, round(run.decay * total))
        return min(1.0, (total - step) / falling)
    done = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * done)) if run.schedule == "cosine" else 1 - done


def set_rates(optimizer: torch.optim.Optimizer, share: float) -> dict[str, float]:
    """Give every group its peak rate times `share`. Returns the rates by part ("" is the rest)."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
    return {group["part"]: group["lr"] for group in optimizer.param_groups}


class Average:
    """Exponential moving average of the trained parameters (Polyak averaging).

    After t updates the decay is min(decay, (1 + t) / (10 + t)), so that the random start is forgotten soon.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = trainable(model)
        self.values = {name: parameter.detach().clone() for name, parameter in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the weights that step number `step` (from 0) left."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), [p.detach() for p in self._live.values()], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averaged weights and the model's."""
        for name, parameter in self._live.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(kept)

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Go on from saved averages."""
        for name, value in self.values.items():
            value.copy_(values[name])

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside, the model has the averaged weights."""
        self.swap()
        try:
            yield
        finally:
            self.swap()


def state_by_name(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors: "exp_avg:heads.text.weight" -> tensor."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{key}:{names[id(parameter)]}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def load_state_by_name(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `state_by_name` gave. Groups and rates are the run's, which must be the same run."""
    parameters = dict(model.named_parameters())
    places = {p: place for place, p in enumerate(p for g in optimizer.param_groups for p in g["params"])}
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, value in tensors.items():
        key, name = full_name.split(":", 1)
        state.setdefault(places[parameters[name]], {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
