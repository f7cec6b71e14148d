"""What a run leaves on record: history.jsonl, metrics.json, TensorBoard events, and the bar on the screen."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sensorium.training.run import TrainingError


class History:
    """The records of a run, one JSON object a line.

    A step:        {"step": 12, "epoch": 0.4, "loss": 1.9, "loss/info_nce": 1.9, "lr": 0.001, "lr/heads.*":
    0.01,
                    "grad_norm": 0.7, "rows_per_second": 810.0}
    An evaluation: {"step": 12, "scores": {"R@1": {"value": 0.4, "blind": 0.01, …}}}

    Opening it at step k keeps the records up to that step and drops the later ones, which a resumed run makes
    anew.
    writes: False on all processes but the main one
    """

    def __init__(self, folder: Path, step: int = 0, writes: bool = True, tensorboard: bool = False) -> None:
        self.folder, self.writes = folder, writes
        self.records = [record for record in read(folder / "history.jsonl") if record["step"] <= step]
        self._board = None
        if not writes:
            return
        write_text(folder / "history.jsonl", "".join(_line(record) for record in self.records))
        with _writing(folder):
            self._file = open(folder / "history.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        if tensorboard:
            self._board = _tensorboard(folder / "tensorboard", step)

    def add(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        if not self.writes:
            return
        with _writing(self.folder):
            self._file.write(_line(record))
            self._file.flush()
        if self._board is not None:
            values = (
                {f"scores/{n}": s["value"] for n, s in record["scores"].items()}
                if "scores" in record
                else record
            )
            for name, value in values.items():
                if name != "step" and value is not None:
                    self._board.add_scalar(name, value, record["step"])

    def add_scores(self, step: int, scores: Mapping[str, Any]) -> None:
        """Record an evaluation, and make it metrics.json."""
        entries = {name: entry(score) for name, score in scores.items()}
        self.add({"step": step, "scores": entries})
        if self.writes:
            write_text(self.folder / "metrics.json", json.dumps(entries, indent=1, allow_nan=False) + "\n")

    def scores(self) -> tuple[int, dict[str, dict[str, Any]]] | None:
        """The newest evaluation: its step and its scores."""
        for record in reversed(self.records):
            if "scores" in record:
                return record["step"], record["scores"]
        return None

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The records of steps alone."""
        return [record for record in self.records if "scores" not in record]

    def close(self) -> None:
        if self.writes:
            self._file.close()
        if self._board is not None:
            self._board.close()


def read(file: Path) -> list[dict[str, Any]]:
    """The records of a history.jsonl; a last line cut short by a killed process is left out."""
    if not file.is_file():
        return []
    whole = file.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.split("\n") if line]


def entry(score: Any) -> dict[str, Any]:
    """A score as metrics.json has it: a dataclass's fields, or {"value": number}; NaN becomes null."""
    fields = asdict(score) if is_dataclass(score) and not isinstance(score, type) else score
    if not isinstance(fields, Mapping):
        fields = {"value": float(fields)}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in fields.items()
    }


def write_text(file: Path, text: str) -> None:
    """Write a record of the run atomically: whoever reads it sees the old text or the new."""
    with _writing(file.parent):
        fresh = file.with_name(f".{file.name}.{os.getpid()}.part")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(file)


def bar(shown: bool) -> Progress:
    """step, loss, rate, time left."""
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[rate]:,.0f} rows/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"cannot write the run's records to {folder}: {error.strerror}; make room or access there and "
            "start again: the run goes on from its newest checkpoint"
        ) from error


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TrainingError(
            "tensorboard=True, but TensorBoard is not installed: pip install tensorboard, or set "
            "tensorboard=False"
        ) from error
    return SummaryWriter(
        str(folder), purge_step=step + 1
    )  # hides what was written after the step resumed from
