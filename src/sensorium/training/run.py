"""`Run`: all that one training run is, as a plain typed dataclass. A recipe returns one, `fit` trains it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from sensorium.training.order import shuffled

Objective = Callable[[nn.Module, Any], dict[str, Tensor]]
Schedule = Literal["constant", "cosine", "linear", "warmup-stable-decay"]
SCHEDULES: tuple[str, ...] = ("constant", "cosine", "linear", "warmup-stable-decay")
PRECISIONS: tuple[str, ...] = ("auto", "bf16", "fp32")
CONFLICTS: tuple[str | None, ...] = (None, "watch", "project")


class TrainingError(ValueError):
    """A run that cannot be trained as it was asked for: what was got, what was expected, what to type."""


@dataclass
class Run:
    """One training run.

    What is trained
        name:        a word for tables and the model card
        folder:      where checkpoints, history.jsonl, metrics.json and preflight.txt go; resuming looks here
        system:      the name of the model in the systems table
        system_args: the arguments its builder was called with (JSON values); a checkpoint records both
        model:       the built model. An entry that is not trained and belongs to a module whose `source`
                     names where its weights came from is saved by reference (source and hash), everything
                     else is saved
        freeze:      patterns over parameter names, in order, the last match wins: "encoders.*" freezes,
                     "!encoders.image.blocks.6" trains that part after all. A name stands for all below it
    From what
        data:        the items, by place: `data[i]`. `range(n)` and a `collate` that looks up rows is fastest
        collate:     items -> batch, in loader workers. A `Batch`, or tensors in dicts, lists, dataclasses
        batch_size:  rows a forward pass sees, over all processes together (a contrastive loss compares these)
        order:       (seed, epoch, len(data)) -> places of that epoch, the same number in every epoch; the
                     incomplete last batch of an epoch is dropped
        workers:     loader processes (0: load in the training process). The numbers do not depend on it
        data_card:   what the data are, from where and under which licence, for the model card
    To what end
        objectives:  each `(model, batch) -> named scalar losses`
        weights:     loss name (or pattern) -> its factor in the total; None: every loss counts 1. Under
                     several processes the mean over processes of an objective's loss must be the loss of the
                     global batch
        conflict:    "watch" records the cosine of each two losses' gradients, "project" also takes out of each
                     what goes against another (PCGrad, see `conflict.py`). Costs a backward pass a loss
        report:      Trained -> the page about it. Called after `fit` by the command line, not by `fit`
        evaluate:    model -> flat scores: numbers, or dataclasses with `value` (`low`, `high`, `blind` …).
                     Called on the main process, in evaluation mode, without gradients; cannot disturb the run
    How
        steps or epochs: give exactly one; a step is one optimiser step over `accumulate` batches
        lr:          peak learning rate of AdamW
        part_lr:     pattern over parameter names -> its own peak learning rate, the last match wins
        thaw:        pattern over the names of what learns -> the step (from 0) from which it does, the last match
                     wins; until then it is frozen. What no pattern names learns from the start
        weight_decay: decoupled; not on parameters of fewer than two dimensions (norms, biases, scales)
        schedule:    shape of the rate after the warm-up; "warmup-stable-decay" falls linearly in the last
                     `decay` share
        warmup:      steps of linear warm-up, or a share of all steps when below 1
        clip:        largest gradient norm (None: not clipped)
        precision:   "bf16" autocast, "fp32", or "auto": bf16 where the machine computes in it
        ema:         decay of the moving average of the trained weights (None: none). With one, evaluation and
                     model.safetensors use the average; the raw weights go on from state/
        seed:        decides data order, item randomness and dropout (not the model, which is built before)
        save_every, evaluate_every: in steps; both also happen at the end
        keep:        how many checkpoints stay
        tensorboard: also write TensorBoard events to folder/tensorboard
        progress:    print the preflight and show a progress bar
    """

    name: str
    folder: str | Path
    system: str
    model: nn.Module
    data: Sequence[Any]
    collate: Callable[[list[Any]], Any]
    objectives: Sequence[Objective]
    batch_size: int
    system_args: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    epochs: float | None = None
    weights: Mapping[str, float] | None = None
    conflict: Literal["watch", "project"] | None = None
    freeze: Sequence[str] = ()
    order: Callable[[int, int, int], np.ndarray] = shuffled
    workers: int = 0
    data_card: str = ""
    evaluate: Callable[[nn.Module], Mapping[str, Any]] | None = None
    report: Callable[[Any], Path] | None = None
    lr: float = 1e-3
    part_lr: Mapping[str, float] = field(default_factory=dict)
    thaw: Mapping[str, int] = field(default_factory=dict)
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    decay: float = 0.2
    accumulate: int = 1
    clip: float | None = 1.0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    ema: float | None = None
    seed: int = 0
    save_every: int | None = None
    evaluate_every: int | None = None
    keep: int = 2
    tensorboard: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        def check(right: bool, message: str) -> None:
            if not right:
                raise TrainingError(f"run {self.name!r}: {message}")

        self.folder = Path(self.folder)
        check((self.steps is None) != (self.epochs is None), "give exactly one of steps=… and epochs=…")
        check(self.batch_size >= 1, f"batch_size={self.batch_size}; expected at least 1")
        check(
            len(self.data) >= self.batch_size,
            f"{len(self.data)} items in data cannot fill one batch of {self.batch_size}: "
            f"set batch_size={max(1, len(self.data))} or less, or bring more data",
        )
        check(
            len(self.objectives) > 0,
            "no objectives: give objectives=[…], each (model, batch) -> named losses",
        )
        check(self.accumulate >= 1, f"accumulate={self.accumulate}; expected at least 1")
        check(
            self.schedule in SCHEDULES, f"schedule={self.schedule!r}; expected one of {', '.join(SCHEDULES)}"
        )
        check(
            self.precision in PRECISIONS,
            f"precision={self.precision!r}; expected one of {', '.join(PRECISIONS)}",
        )
        check(self.conflict in CONFLICTS, f"conflict={self.conflict!r}; expected one of None, watch, project")
        check(self.warmup >= 0, f"warmup={self.warmup}; expected steps, or a share of them below 1")
        check(0 < self.decay <= 1, f"decay={self.decay}; expected a share of the steps, above 0 and up to 1")
        check(
            self.ema is None or 0 < self.ema < 1, f"ema={self.ema}; expected a decay between 0 and 1, or None"
        )
        check(self.clip is None or self.clip > 0, f"clip={self.clip}; expected a norm above 0, or None")
        check(self.keep >= 1, f"keep={self.keep}; expected at least 1")
        check(self.seed >= 0, f"seed={self.seed}; expected 0 or more")
        for name in ("save_every", "evaluate_every"):
            every = getattr(self, name)
            check(
                every is None or every >= 1, f"{name}={every}; expected at least 1, or None for the end only"
            )
        try:
            self.system_args = json.loads(json.dumps(dict(self.system_args)))
        except TypeError as error:
            raise TrainingError(f"run {self.name!r}: system_args must be JSON values: {error}") from error
        check(self.total_steps >= 1, f"epochs={self.epochs}, steps={self.steps}: not one step; ask for more")

    @property
    def epoch_batches(self) -> int:
        """Whole batches an epoch has."""
        return len(self.order(self.seed, 0, len(self.data))) // self.batch_size

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return math.floor(self.epochs * self.epoch_batches / self.accumulate)

    def settings(self) -> dict[str, Any]:
        """All that decides the numbers beside model, data and code; a resumed run must have the same."""
        return {
            "system": self.system,
            "system_args": self.system_args,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "accumulate": self.accumulate,
            "steps": self.total_steps,
            "items": len(self.data),
            "order": name_of(self.order),
            "objectives": [name_of(objective) for objective in self.objectives],
            "weights": None if self.weights is None else dict(self.weights),
            "conflict": self.conflict,
            "freeze": list(self.freeze),
            "lr": self.lr,
            "part_lr": dict(self.part_lr),
            "weight_decay": self.weight_decay,
            "betas": list(self.betas),
            "eps": self.eps,
            "schedule": self.schedule,
            "warmup": self.warmup,
            "decay": self.decay,
            "clip": self.clip,
            "ema": self.ema,
            **({"thaw": dict(self.thaw)} if self.thaw else {}),  # runs from before there was one go on
        }


def name_of(thing: Any) -> str:
    """The name of a function or of an object's class: what settings can say of code."""
    return str(getattr(thing, "__name__", type(thing).__name__))
