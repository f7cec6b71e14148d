"""`compare`: every kind of fusion on one task with the same budget and seeds, in one table and one figure.

kinds × seeds, single columns × seeds -> trials (comparison_trials.py) -> Compared -> table, figure, report

Each kind is trained twice a seed: as it is, and with modality dropout. At test time each column is hidden in turn, and
then each by a coin; Shapley values share the score among the columns. Intervals are over rows and seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from sensorium.data.puzzles import PUZZLES
from sensorium.data.sample import Sample
from sensorium.evaluation.generated import LOWER, Measured
from sensorium.evaluation.predictions import constant, main_metric, metrics
from sensorium.evaluation.repeats import estimate, estimates, len_of, mean_over
from sensorium.evaluation.scores import RESAMPLES
from sensorium.evaluation.shapley import subsets, weights_of
from sensorium.fusion import KINDS, fusion_of
from sensorium.recipes.comparison_trials import REFERENCE, Budget, Outcome, Stopwatch, Trial, outcome
from sensorium.tasks import Task
from sensorium.training.history import write_text
from sensorium.viewing.comparison import Compared, Way

HALF = "half"  # each column hidden by a coin, never a row's last
METRIC = {"f1": "micro_f1"}  # what a puzzle calls it -> what it is called here
QUICK: dict[str, Any] = {"steps": 20, "batch_size": 32, "width": 32, "train": 200, "test": 200}


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    compared: what is drawn and printed
    outcomes: by trial
    task:     the main one
    rows:     the test records, in the order of the outcomes
    left_out: kinds that cannot join these columns, with the reason
    """

    compared: Compared
    outcomes: Mapping[Trial, Outcome]
    task: Task
    rows: Sequence[Sample]
    left_out: Mapping[str, str]


def compare(
    task: str = "sentiment",
    kinds: Sequence[str] = (),
    columns: Sequence[str] = (),
    label: Sequence[str] = (),
    folder: Path = Path("runs/comparison"),
    seeds: int = 3,
    steps: int = 300,
    batch_size: int = 64,
    lr: float = 1e-3,
    width: int = 128,
    drop: float = 0.3,
    train: int | None = None,
    held_out: float = 0.2,
    cache: Path | None = None,
    quick: bool = False,
    progress: bool = True,
) -> Comparison:
    """Run what the folder lacks of the trials, and sum them up; FOLDER/comparison.json has every number.

    Command: sensorium compare sentiment
    Expected: on sentiment with 150 steps and two seeds, concatenation 0.93, low rank 0.94, gated 0.96, average 0.97,
    where the best column alone gets 0.74 and none can pass 0.75.

    kinds:  of fusion; all by default. Those that cannot join these columns are then left out and named
    columns: of the task; all by default
    seeds:  trainings of each kind
    drop:   modality dropout of the second training of each kind; 0: no second training
    quick:  a fiftieth of the budget, to see whether it runs
    others: as of the recipe `fusion`

    Raises ValueError for unknown kinds, tasks and columns (they list the known ones), fewer than two columns or
    one seed.
    """
    if seeds < 1:
        raise ValueError(
            f"--seeds {seeds}; expected 1 or more (3 show whether a difference is more than chance)"
        )
    if not 0 <= drop < 1:
        raise ValueError(f"--drop {drop}; expected a share from 0 (no modality dropout) to less than 1")
    sizes: dict[str, Any] = {"steps": steps, "batch_size": batch_size, "width": width, "train": train}
    budget = Budget(task, tuple(label), lr=lr, held_out=held_out, cache=cache, **(QUICK if quick else sizes))
    data = budget.data(folder)
    names = tuple(columns) or tuple(data.modality)
    data.encoders(names)  # names the columns that there are
    if len(set(names)) < 2:
        raise ValueError(
            f"{task}: got the columns {', '.join(names) or 'none'}; expected two or more to fuse, of "
            f"{', '.join(data.modality)}"
        )
    subsets(names)  # raises for more columns than can be shared out
    joining, left_out = _joining(kinds, names, budget.width)
    trials = [
        Trial(kind, names, amount, seed)
        for seed in range(seeds)  # seed by seed, so that a comparison that was stopped is an even one
        for amount in ((0.0, drop) if drop else (0.0,))
        for kind in joining
    ] + [Trial(REFERENCE, (column,), 0.0, seed) for seed in range(seeds) for column in names]

    reference = once(lambda: Stopwatch.of_reference(budget, names, folder / "reference"))
    outcomes = {}
    with _bar(progress) as shown:
        going = shown.add_task("comparing", total=len(trials), doing="")
        for trial in trials:
            shown.update(going, doing=f"{trial.name}, seed {trial.seed}")
            outcomes[trial] = outcome(trial, budget, folder, reference)
            shown.advance(going)
        shown.update(going, doing="intervals")
        rows = data.samples("test")[: budget.test]
        found = Found(data.tasks[0], metric_of(task, data.tasks[0]), rows, 200 if quick else RESAMPLES)
        compared = found.compared(task, names, outcomes, data.samples("train"), _about(budget, trials, found))
    result = Comparison(compared, outcomes, data.tasks[0], rows, left_out)
    write_text(folder / "comparison.json", json.dumps(as_json(result, budget, seeds), indent=1) + "\n")
    return result


class Found:
    """Outcomes of trials -> numbers with intervals."""

    def __init__(self, task: Task, metric: str, rows: Sequence[Sample], resamples: int = RESAMPLES) -> None:
        self.task, self.metric, self.resamples = task, metric, resamples
        self.answers = [sample.fields.get(task.field) for sample in rows]

    def compared(
        self,
        name: str,
        columns: Sequence[str],
        outcomes: Mapping[Trial, Outcome],
        seen: Sequence[Sample],
        about: str,
    ) -> Compared:
        """What the table and the figure say. seen: training records, for the majority's answer."""
        by_name: dict[str, list[Outcome]] = {}
        trial_of = {trial.name: trial for trial in outcomes}
        for trial, one in outcomes.items():
            by_name.setdefault(trial.name, []).append(one)
        singles = [self._way(column, (column,), by_name[f"only_{column}"]) for column in columns]
        runs = {way.name: self._all(by_name[f"only_{way.name}"], [way.name]) for way in singles}
        unit = next(iter(runs.values()))[0].unit
        pick = min if unit in LOWER else max
        best = runs[pick(singles, key=lambda way: way.score.value).name]
        ways: dict[bool, list[Way]] = {False: [], True: []}
        for key, trial in trial_of.items():
            if len(trial.columns) > 1:
                ways[trial.drop > 0].append(self._way(trial.kind, columns, by_name[key], best))
        constants = constant(self.task, [sample.fields.get(self.task.field) for sample in seen])
        puzzle = PUZZLES.get(name)
        ceilings = [puzzle.alone[c] for c in columns if c in puzzle.alone] if puzzle else []
        return Compared(
            task=name if puzzle is None or name == self.task.name else f"{name} ({self.task.name})",
            metric=self.metric,
            columns=tuple(columns),
            kinds=ways[False],
            dropped=ways[True],
            singles=singles,
            majority=self._measured(constants.expand(len(self.answers), -1)).value,
            ceiling=pick(ceilings, default=None),
            unit=unit,
            about=about,
        )

    def _way(
        self,
        name: str,
        columns: Sequence[str],
        runs: Sequence[Outcome],
        best: Sequence[Measured] | None = None,
    ) -> Way:
        """best: the best single column's, of fusions."""
        measured = {some: self._all(runs, some) for some in Trial("", tuple(columns), 0.0, 0).seen}
        whole = measured[frozenset(columns)]
        one = [
            metrics(self.task, run.outputs[self.task.name][frozenset(columns)], self.answers) for run in runs
        ]
        way = Way(
            name,
            estimate(whole, resamples=self.resamples),
            runs[0].parameters,
            float(np.median([run.step for run in runs])),
            metrics={metric: float(np.mean([each[metric].value for each in one])) for metric in one[0]},
        )
        if best is None:
            return way
        without = {column: measured[frozenset(columns) - {column}] for column in columns}
        without[HALF] = [self._measured(by_a_coin(run.outputs[self.task.name], run.present)) for run in runs]
        order, sign = subsets(columns), -1.0 if whole[0].unit in LOWER else 1.0
        shares = sign * weights_of(columns, order)

        def numbers(rows: np.ndarray, repeats: np.ndarray) -> np.ndarray:
            """All that is said of this way, on one draw: each outcome is measured once."""
            worth = {some: mean_over(measured[some], rows, repeats) for some in order}
            everything = worth[frozenset(columns)]
            lacking = np.array([worth[frozenset(columns) - {column}] for column in columns])
            lacking = np.append(lacking, mean_over(without[HALF], rows, repeats))
            gain = sign * (everything - mean_over(best, rows, repeats))
            values = shares @ np.array([worth[some] for some in order])
            return np.concatenate([[gain], lacking, sign * (everything - lacking), values])

        found = iter(estimates(numbers, len_of(whole), len(runs), resamples=self.resamples))
        return replace(
            way,
            gain=next(found),
            missing={condition: next(found) for condition in without},
            costs={condition: next(found) for condition in without},
            shapley={column: next(found) for column in columns},
        )

    def _all(self, runs: Sequence[Outcome], seen: Any) -> list[Measured]:
        """The metric of every repeat with only these columns seen."""
        return [self._measured(run.outputs[self.task.name][frozenset(seen)]) for run in runs]

    def _measured(self, outputs: Tensor) -> Measured:
        return metrics(self.task, outputs, self.answers)[self.metric]


def by_a_coin(
    outputs: Mapping[frozenset[str], Tensor], present: Mapping[str, np.ndarray], seed: int = 0
) -> Tensor:
    """float32[N, C]: what is said of rows of which each column is hidden with a chance of a half, never the last one.

    A model answers row by row, so that this is a choice among what it said with each subset. The same rows lose the
    same columns whatever the model.
    """
    columns = list(present)
    here = np.stack([present[column] for column in columns], 1)
    draws = np.random.default_rng(seed).random(here.shape)
    kept = here & (draws >= 0.5)
    lost = here.any(1) & ~kept.any(1)
    kept[lost, np.where(here, draws, -1.0).argmax(1)[lost]] = True
    chosen = [frozenset(c for c, yes in zip(columns, row) if yes) for row in kept.tolist()]
    return torch.stack([outputs[seen][row] for row, seen in enumerate(chosen)])


def metric_of(name: str, task: Task) -> str:
    """The metric that a puzzle names, or the usual one of the kind of task."""
    named = PUZZLES[name].metric if name in PUZZLES else main_metric(task)
    return METRIC.get(named, named)


def as_json(result: Comparison, budget: Budget, seeds: int) -> dict[str, Any]:
    """Every number, as comparison.json has it."""
    compared = result.compared
    shown = asdict(compared)
    return {
        "n": len(result.rows),
        "seeds": seeds,
        "budget": budget.as_json(),
        "left_out": dict(result.left_out),
        **shown,
    }


def _joining(kinds: Sequence[str], columns: tuple[str, ...], width: int) -> tuple[list[str], dict[str, str]]:
    """The kinds that can join these columns, and why others cannot. Raises ValueError for one that was asked for."""
    if kinds:
        for kind in kinds:
            fusion_of(kind, columns, width)
        return list(dict.fromkeys(kinds)), {}
    joining, left_out = [], {}
    for kind in KINDS:
        try:
            fusion_of(kind, columns, width)
        except ValueError as error:
            left_out[kind] = str(error)
        else:
            joining.append(kind)
    return joining, left_out


def _about(budget: Budget, trials: Sequence[Trial], found: Found) -> str:
    known = sum(answer is not None for answer in found.answers)
    seeds = len({trial.seed for trial in trials})
    drop = max(trial.drop for trial in trials)
    return (
        f"{budget.steps} steps of {budget.batch_size} rows, width {budget.width}, {seeds} seed{'s' * (seeds > 1)}; "
        f"{known} test rows; intervals of 95 % over rows and seeds"
        + (f"; modality dropout {drop:g}" if drop else "")
        + f"; step times as multiples of {REFERENCE}'s, on rows in memory"
    )


def _bar(shown: bool) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[doing]}"),
        console=Console(stderr=True),
        disable=not shown,
    )
