"""Parameters that begin to learn in the course of a run: `Run(thaw={pattern: step})`.

A part that is not open yet is frozen as any other: no gradient, evaluation mode. Around the run it counts as learning,
so that the optimiser, the average and every checkpoint hold it from the first step on, and a run can stop and go on
between any two openings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from sensorium.training.adaptation import match, set_training
from sensorium.training.run import Run, TrainingError


class Unfreezing:
    """What of a run's model is open at which step. Made after `freeze`, when all that will ever learn is open.

    Raises TrainingError for a pattern that matches nothing that learns, for a run in which nothing learns at first or
    something never, and under several processes (whose gradients are gathered for a fixed set of parameters).
    """

    def __init__(self, run: Run, ranks: int = 1) -> None:
        self.model = run.model
        learning = {
            name: p for name, p in run.model.named_parameters(remove_duplicate=False) if p.requires_grad
        }
        self._from: dict[nn.Parameter, int] = dict.fromkeys(learning.values(), 0)
        for pattern, step in run.thaw.items():
            for name in match(learning, pattern, "thaw (of what learns)"):
                self._from[learning[name]] = step
        self._now: frozenset[int] | None = None  # of the parameters that are open, until something opens
        if not run.thaw:
            return
        if ranks > 1:
            raise TrainingError(
                f"thaw: {ranks} processes; expected one: leave thaw out, or train in one process"
            )
        steps = sorted(set(self._from.values()))
        if steps[0] > 0 or steps[-1] >= run.total_steps:
            raise TrainingError(
                f"thaw: parts open at the steps {steps} of a run of {run.total_steps}; expected some to learn from "
                "step 0 on (leave them out of thaw), and all to open before the run ends: more steps, or earlier ones"
            )

    def open_at(self, step: int) -> None:
        """Open what learns in step number `step` (from 0), close the rest; modes follow when something changes."""
        now = frozenset(id(parameter) for parameter, start in self._from.items() if start <= step)
        if now != self._now:
            self._set(now)
            self._now = now
            set_training(self.model)

    @contextmanager
    def all_open(self) -> Iterator[None]:
        """Inside, everything that will ever learn does, as checkpoints and their readers count it."""
        self._set(frozenset(map(id, self._from)))
        try:
            yield
        finally:
            if self._now is not None:
                self._set(self._now)

    def _set(self, opened: frozenset[int]) -> None:
        for parameter in self._from:
            parameter.requires_grad_(id(parameter) in opened)
