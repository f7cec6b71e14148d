"""Which parameters learn: freezing by patterns over parameter names, applied from outside the model.

A frozen part computes as it will when it is used: in evaluation mode, so its batch-norm statistics stay as
they are and its dropout is off.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

import torch
from torch import nn

from sensorium.training.run import TrainingError


def matches(name: str, pattern: str) -> bool:
    """Whether a shell-style pattern ("encoders.*.blocks.?") says this name, or what it lies below."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, pattern + ".*")


def match(names: Iterable[str], pattern: str, said_in: str) -> list[str]:
    """The names that a pattern matches. Raises TrainingError, with the nearest names, when there are none.

    said_in: where the pattern was written, for the error
    """
    names = list(names)
    found = [name for name in names if matches(name, pattern)]
    if not found:
        known = {prefix for name in names for prefix in _prefixes(name)}
        near = difflib.get_close_matches(pattern.rstrip(".*"), known, n=5, cutoff=0.3) or sorted(known)[:5]
        raise TrainingError(
            f"{said_in}: {pattern!r} matches none of the {len(names)} parameters; near names: "
            f"{', '.join(near)}"
        )
    return found


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Freeze parameters that match, thaw those that match a pattern with "!" before it; the last match wins.

    Parameters that no pattern matches keep their `requires_grad`. Raises TrainingError for a pattern without
    a match.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))  # a shared one answers to all its names
    for pattern in patterns:
        for name in match(parameters, pattern.removeprefix("!"), "freeze"):
            parameters[name].requires_grad_(pattern.startswith("!"))


def frozen_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module, with its name, that belongs to a frozen part.

    A module with parameters is frozen when none of them learns; one without (a dropout, a fixed table) goes
    with the module that holds it.
    """

    def walk(name: str, module: nn.Module, holder_frozen: bool) -> Iterator[tuple[str, nn.Module]]:
        learns = [parameter.requires_grad for parameter in module.parameters()]
        frozen = not any(learns) if learns else holder_frozen
        if frozen:
            yield name, module
        for child_name, child in module.named_children():
            yield from walk(f"{name}.{child_name}" if name else child_name, child, frozen)

    yield from walk("", model, False)


def set_training(model: nn.Module) -> None:
    """Training mode for what learns, evaluation mode for what is frozen."""
    model.train()
    for _, module in frozen_modules(model):
        module.train(False)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Whatever is computed inside, the model's buffers, gradients and modes are afterwards what they were."""
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, kept in buffers:
                buffer.copy_(kept)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for module, mode in modes:
            module.training = mode


def parts(model: nn.Module) -> dict[str, list[str]]:
    """The model's parameters by part: its children, and the children of its ModuleDicts and ModuleLists."""
    found: dict[str, list[str]] = {}
    containers = {
        n for n, child in model.named_children() if isinstance(child, nn.ModuleDict | nn.ModuleList)
    }
    for name, _ in model.named_parameters():
        words = name.split(".")
        found.setdefault(".".join(words[: 2 if words[0] in containers else 1]), []).append(name)
    return found


def _prefixes(name: str) -> Iterator[str]:
    words = name.split(".")
    for end in range(1, len(words) + 1):
        yield ".".join(words[:end])
