"""Several tasks, one network: how to weigh them, whether they pull in one direction, and what each gains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import torch

from sensorium.data.puzzles import PUZZLES
from sensorium.data.sample import Sample
from sensorium.objectives.supervised import Supervised
from sensorium.objectives.uncertainty import UncertaintyWeighted
from sensorium.recipes.fusion_data import FusionData, Split, data_of, scores_of
from sensorium.systems.fusion_network import fusion_network
from sensorium.tasks import Task
from sensorium.training.history import read
from sensorium.training.run import Run
from sensorium.viewing.conflict import PREFIX
from sensorium.viewing.conflict import save as save_conflict

Weighting = Literal["fixed", "uncertainty", "pcgrad"]


def multi_task(
    tasks: tuple[str, ...] = ("sentiment",),
    weighting: Weighting = "fixed",
    weights: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    label: tuple[str, ...] = (),
    kind: str = "gated",
    folder: Path = Path("runs/multi_task"),
    steps: int = 200,
    batch_size: int = 64,
    lr: float = 1e-3,
    width: int = 256,
    train: int | None = None,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = True,
) -> Run:
    """Learn all tasks of one or several puzzles in one network; rows need not have an answer to each.

    Command: sensorium train multi_task --weighting pcgrad (one setting), sensorium gains multi_task (all)
    Hardware and time: 2 CPU cores; media encoded once, then a backward pass a task and step.
    Papers: Kendall et al. 2018 (arXiv:1705.07115) for uncertainty, Yu et al. 2020 (arXiv:2001.06782) for pcgrad.
    Expected: sentiment (accuracy) and its strength (mean error, of −3 to 3), 600 rows, 200 steps, seeds 0 and 1:
        alone         90.7 and 89.5 %    0.62 (seed 0)
        fixed         91.4 and 92.1 %    0.54 and 0.51
        uncertainty   91.5 and 91.1 %    0.52 and 0.51
        pcgrad        91.7 and 92.4 %    0.52 and 0.51
    Learning both helps the strength; how they are weighed hardly matters: their gradients agree (mean cosine about
    0.24, below 0 in a fifth of the steps), so there is little to project.

    Writes conflict.png: the cosines of the tasks' gradients, pair by pair and over the steps.

    Args:
        tasks: Puzzles, or folders and tables of your own.
        weighting: fixed, uncertainty (log variances are learned) or pcgrad (what conflicts is projected away).
        weights: Of fixed and pcgrad, factors of the losses: strength=0.5. The others count 1.
        only: Train and score these tasks alone, as what several are to be held against.
        label: Of your own data, the fields to learn; "rating:number" says what kind of answer a field holds.
        kind: Of fusion: how the columns are joined.
        folder: Where the run is written.
        steps: Optimiser steps.
        batch_size: Rows of a step, of all puzzles together.
        lr: Peak learning rate.
        width: Of the columns where they are joined.
        train: Use at most so many training rows of each puzzle.
        seed: Of the weights' start and of the order of the data.
        cache: Folder of the feature cache.
        progress: Show the preflight and progress bars.
    """
    data = joined([data_of(name, () if name in PUZZLES else label, train, folder) for name in tasks])
    asked = named(data.tasks, only)
    factors = factors_of(weights, asked, weighting)
    samples = [
        sample
        for sample in data.samples("train")
        if any(sample.fields.get(task.field) is not None for task in asked)
    ]
    system_args = {
        "encoders": data.encoders(),
        "tasks": [task.as_json() for task in asked],
        "fusion": kind,
        "width": width,
        "uncertainty": weighting == "uncertainty",
    }
    torch.manual_seed(seed)
    model = fusion_network(**system_args)  # type: ignore[arg-type]
    read_from: dict[str, Any] = {
        "what": "tokens" if model.fusion.reads_tokens else "pooled",
        "cache": cache,
        "progress": progress,
    }
    test = data.collator(model.by_column, "test", **read_from)

    def scores(trained: Any) -> dict[str, Any]:
        if any(name.startswith(PREFIX) for record in read(folder / "history.jsonl") for name in record):
            save_conflict(folder / "conflict.png", folder / "history.jsonl")
        found = scores_of(trained, test, samples)
        for name, s in (trained.log_variances or {}).items():
            found[f"{name}.sigma"] = math.exp(s.item() / 2)
        return found

    return Run(
        name="multi_task",
        folder=folder,
        system="fusion_network",
        system_args=system_args,
        model=model,
        data=range(len(samples)),
        collate=data.collator(model.by_column, "train", samples, **read_from),
        objectives=[(UncertaintyWeighted if weighting == "uncertainty" else Supervised)(asked)],
        weights=factors,
        conflict=None if len(asked) == 1 else "project" if weighting == "pcgrad" else "watch",
        batch_size=min(batch_size, len(samples)),
        steps=steps,
        lr=lr,
        precision="fp32",
        seed=seed,
        evaluate=scores,
        data_card=data.about,
        progress=progress,
    )


def joined(several: Sequence[FusionData]) -> FusionData:
    """The records of several data sets as one: all their columns, all their tasks; a record has those of its own.

    Raises ValueError when a column is of different modalities, or two tasks have one name or field.
    """
    if not several:
        raise ValueError("tasks: got none; expected the names of one or more puzzles")
    if len(several) == 1:
        return several[0]
    modality: dict[str, str] = {}
    for one in several:
        for column, kind in one.modality.items():
            if modality.setdefault(column, kind) != kind:
                raise ValueError(
                    f"column {column!r} is {kind} in {one.name} and {modality[column]} elsewhere; rename one"
                )
    tasks = tuple(task for one in several for task in one.tasks)
    names = [task.name for task in tasks] + [task.field for task in tasks if task.field != task.name]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"{', '.join(twice)}: asked for by several of {[one.name for one in several]}; rename one"
        )

    def rows(split: Split) -> list[Sample]:
        return [sample for one in several for sample in one.samples(split)]

    splits: tuple[Split, ...] = ("train", "validation", "test")
    return FusionData(
        "+".join(one.name for one in several),
        tasks,
        modality,
        {split: lru_cache(1)(partial(rows, split)) for split in splits},
        "\n".join(one.about for one in several),
        next((one.quarantine for one in several if one.quarantine), None),
    )


def named(tasks: Sequence[Task], only: Sequence[str]) -> tuple[Task, ...]:
    """The tasks of these names, by default all. Raises ValueError that lists the names."""
    names = [task.name for task in tasks]
    if unknown := [name for name in only if name not in names]:
        raise ValueError(f"--only {' '.join(unknown)}: the tasks are {', '.join(names)}")
    return tuple(task for task in tasks if not only or task.name in only)


def factors_of(
    weights: Sequence[str], tasks: Sequence[Task], weighting: Weighting
) -> Mapping[str, float] | None:
    """ "strength=0.5" -> {"strength": 0.5, others: 1}; None when nothing is said."""
    if weights and weighting == "uncertainty":
        raise ValueError("--weights with --weighting uncertainty, which learns them; leave one out")
    factors = {task.name: 1.0 for task in tasks}
    for word in weights:
        name, _, number = word.partition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = -1.0
        if name not in factors or not 0 <= factor < math.inf:
            raise ValueError(f"--weights {word}: expected NAME=NUMBER, with a name of {', '.join(factors)}")
        factors[name] = factor
    return factors if weights else None
