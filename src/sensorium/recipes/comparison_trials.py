"""One trial of a comparison: a way of fusing, trained from one seed, and what it says of the test rows.

Trial, Budget -> fit(fusion(...)) -> Outcome: outputs for every subset of the columns, parameters, step time

What a trial leaves on the disk are its outputs, not its weights: every number, interval and picture of a comparison
is made of those, and a comparison that is asked for again trains nothing that it has.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.data.sample import Batch
from sensorium.evaluation.predictions import outputs_of
from sensorium.evaluation.shapley import subsets
from sensorium.recipes.fusion import fusion
from sensorium.recipes.fusion_data import FusionData, batches_of, data_of
from sensorium.training.history import write_text
from sensorium.training.loop import fit
from sensorium.training.run import Run

REFERENCE = "concatenation"  # step times are multiples of its
QUARANTINE = "quarantine.jsonl"
ROUNDS = 40  # steps timed in turn with the reference's


@dataclass(frozen=True)
class Budget:
    """What every trial gets alike; the arguments are those of the recipe `fusion`.

    test: score only so many test rows; None: all
    """

    task: str
    label: tuple[str, ...] = ()
    steps: int = 300
    batch_size: int = 64
    lr: float = 1e-3
    width: int = 128
    dropout: float = 0.1
    train: int | None = None
    held_out: float = 0.2
    test: int | None = None
    cache: Path | None = None

    def data(self, folder: Path) -> FusionData:
        return data_of(self.task, self.label, self.train, folder, self.held_out)

    def run(self, trial: Trial, folder: Path) -> Run:
        """As `sensorium train fusion` would, but that it is scored by the comparison."""
        run = fusion(
            task=self.task,
            kind=trial.kind,
            columns=trial.columns,
            label=self.label,
            folder=folder,
            steps=self.steps,
            batch_size=self.batch_size,
            lr=self.lr,
            width=self.width,
            dropout=self.dropout,
            drop=trial.drop,
            train=self.train,
            held_out=self.held_out,
            seed=trial.seed,
            cache=self.cache,
            progress=False,
        )
        return replace(run, evaluate=None)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "label": list(self.label), "cache": None}


@dataclass(frozen=True)
class Trial:
    """kind: of fusion; columns: seen in training; drop: modality dropout; seed: of weights and order."""

    kind: str
    columns: tuple[str, ...]
    drop: float
    seed: int

    @property
    def name(self) -> str:
        if len(self.columns) == 1:
            return f"only_{self.columns[0]}"
        return f"{self.kind}_drop" if self.drop else self.kind

    @property
    def seen(self) -> list[frozenset[str]]:
        """The subsets of columns that its model is asked with."""
        if len(self.columns) == 1:
            return [frozenset(), frozenset(self.columns)]
        return subsets(self.columns)


@dataclass(frozen=True)
class Outcome:
    """What one trial says of N test rows.

    outputs:    by task, by subset of columns seen, float32[N, C]
    present:    by column bool[N], what the rows have
    gates:      float32[N, columns], where the fusion has gates
    parameters: trained ones
    step:       time of a training step as a multiple of concatenation's (median of several, taken in turn)
    """

    outputs: Mapping[str, Mapping[frozenset[str], Tensor]]
    present: Mapping[str, np.ndarray]
    gates: np.ndarray | None
    parameters: int
    step: float


def outcome(trial: Trial, budget: Budget, folder: Path, reference: Callable[[], Stopwatch]) -> Outcome:
    """That of an earlier run with the same budget where the folder has it; else train.

    folder:    of the comparison; the trial's own is FOLDER/trials/NAME
    reference: called when there is something to train
    """
    own = folder / "trials" / trial.name
    facts, arrays = own / f"seed_{trial.seed}.json", own / f"seed_{trial.seed}.npz"
    settings = json.loads(json.dumps({"trial": asdict(trial), "budget": budget.as_json()}))
    if not (facts.is_file() and json.loads(facts.read_text("utf-8"))["settings"] == settings):
        made = train(trial, budget, own / f"seed_{trial.seed}", reference(), folder / QUARANTINE)
        _write(made, facts, arrays, settings)
    return _read(trial, facts, arrays)


def train(trial: Trial, budget: Budget, folder: Path, reference: Stopwatch, quarantine: Path) -> Outcome:
    """Train in a folder that is removed afterwards, and ask the model with every subset of its columns.

    quarantine: the file that gathers what the trials could not decode
    """
    shutil.rmtree(folder, ignore_errors=True)
    run = budget.run(trial, folder)
    batches = batches_to_test(run, budget, folder)
    without_towers(run.model)
    model: Any = fit(run).model
    outputs: dict[str, dict[frozenset[str], Tensor]] = {task.name: {} for task in model.tasks}
    for seen in trial.seen:
        without = [column for column in model.columns if column not in seen]
        for name, made in outputs_of(model, batches, model.tasks, without).items():
            outputs[name][seen] = made
    with torch.no_grad():
        gates = [model(batch).fused.gates for batch in batches]
    files = [path for path in (quarantine, folder / QUARANTINE) if path.is_file()]
    if bad := dict.fromkeys(line for path in files for line in path.read_text("utf-8").splitlines()):
        write_text(quarantine, "".join(f"{line}\n" for line in bad))
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(
        outputs,
        {name: torch.cat([b.columns[name].present for b in batches]).numpy() for name in model.columns},
        None if any(gate is None for gate in gates) else torch.cat(gates).numpy(),
        sum(p.numel() for p in model.parameters() if p.requires_grad),
        Stopwatch(run).ratio(reference),
    )


def batches_to_test(run: Run, budget: Budget, folder: Path) -> list[Batch]:
    """The test rows, their Features read from the cache."""
    model: Any = run.model
    data = budget.data(folder)
    rows = data.samples("test")[: budget.test]
    what: Any = "tokens" if model.fusion.reads_tokens else "pooled"
    return batches_of(data.collator(model.by_column, "test", rows, what, budget.cache))


class CachedTower(nn.Module):
    """Stands where a frozen encoder stood whose Features are all read from the cache.

    It has no weights, so that no step walks over tens of millions of parameters that it does not use.
    """

    def __init__(self, width: int, modality: str) -> None:
        super().__init__()
        self.width, self.modality = width, modality


def without_towers(model: Any) -> None:
    """Put a `CachedTower` in the place of every frozen encoder."""
    for column, tower in model.by_column.items():
        if not any(parameter.requires_grad for parameter in tower.parameters()):
            model.encoders[column] = CachedTower(tower.width, tower.modality)


class Stopwatch:
    """Training steps of a run, one at a time, on one batch that is already in memory.

    Its model learns from them: use it when the trial is over.
    """

    def __init__(self, run: Run) -> None:
        self.model, self.objectives = run.model.train(), run.objectives
        self.batch = run.collate(list(run.data[: run.batch_size]))
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(learning, lr=1e-6)

    @classmethod
    def of_reference(cls, budget: Budget, columns: tuple[str, ...], folder: Path) -> Stopwatch:
        """The kind whose steps the others are compared to, untrained."""
        run = budget.run(Trial(REFERENCE, columns, 0.0, 0), folder)
        without_towers(run.model)
        return cls(run)

    def seconds(self) -> float:
        """One step: forward, backward, update."""
        began = time.perf_counter()
        losses = [
            loss for objective in self.objectives for loss in objective(self.model, self.batch).values()
        ]
        torch.stack(losses).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.perf_counter() - began

    def ratio(self, reference: Stopwatch, rounds: int = ROUNDS) -> float:
        """Median of this step's time over that of the reference, taken in turn, after one round of each."""
        pairs = [(self.seconds(), reference.seconds()) for _ in range(rounds + 1)][1:]
        return float(np.median([own / other for own, other in pairs]))


def _write(made: Outcome, facts: Path, arrays: Path, settings: dict[str, Any]) -> None:
    """The arrays first: a trial is done when its facts are there."""
    facts.unlink(missing_ok=True)
    columns = tuple(made.present)
    kept = {
        f"outputs/{number}/{_bits(columns, seen)}": one.numpy()
        for number, by_subset in enumerate(made.outputs.values())
        for seen, one in by_subset.items()
    }
    kept |= {f"present/{number}": here for number, here in enumerate(made.present.values())}
    if made.gates is not None:
        kept["gates"] = made.gates
    arrays.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(arrays, allow_pickle=False, **kept)
    said = {
        "settings": settings,
        "tasks": list(made.outputs),
        "parameters": made.parameters,
        "step": made.step,
    }
    write_text(facts, json.dumps(said, indent=1) + "\n")


def _read(trial: Trial, facts: Path, arrays: Path) -> Outcome:
    said = json.loads(facts.read_text("utf-8"))
    with np.load(arrays, allow_pickle=False) as kept:
        outputs = {
            task: {
                seen: torch.from_numpy(kept[f"outputs/{number}/{_bits(trial.columns, seen)}"])
                for seen in trial.seen
            }
            for number, task in enumerate(said["tasks"])
        }
        present = {column: kept[f"present/{number}"] for number, column in enumerate(trial.columns)}
        return Outcome(outputs, present, kept.get("gates"), said["parameters"], said["step"])


def _bits(columns: Sequence[str], seen: frozenset[str]) -> str:
    """ "101": the first and the third column are seen."""
    return "".join(str(int(column in seen)) for column in columns)
