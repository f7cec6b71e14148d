"""`sensorium predict`: a checkpoint and a folder or table -> a table of answers with their probabilities."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Sample
from sensorium.facade import Prediction, Predictor, load_predictor
from sensorium.facade.matching import Matched, pairs, read_for
from sensorium.facade.predictor import ROWS
from sensorium.media import Source
from sensorium.tasks import AnyOf, Box, OneOf, Task

SUFFIXES = (".csv", ".parquet")
GATE = "gate_"  # how much a column counted, before its name
BETWEEN = "|"  # stands between several labels in a cell of CSV, as the readers take them
SHOWN = 20  # labels of a summary


@dataclass(frozen=True)
class Row:
    """One row of the output. found: None where the record has nothing that the model reads."""

    id: str
    theirs: dict[str, Any]
    found: Prediction | None


def predict_source(
    checkpoint: Path, source: Path, out: Path, columns: Sequence[str], limit: int | None
) -> None:
    """Write a row for every record and print what was found. Raises ValueError for what cannot be predicted."""
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"--out {out}: expected a name that ends in {' or '.join(SUFFIXES)}, such as {out.stem}.csv"
        )
    if limit is not None and limit < 1:
        raise ValueError(f"--limit {limit}; expected at least 1")
    said = pairs(columns)
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder")
    predictor = load_predictor(checkpoint)
    matched = read_for(source, predictor.columns, said)
    print(_reading(predictor, matched), flush=True)
    listed = out.with_name(f"{out.stem}.quarantine.jsonl")
    with suppress(FileNotFoundError):
        listed.unlink()  # it tells of this run, not of one before
    quarantine = Quarantine(listed, limit_share=1.0)
    rows = list(predictions(predictor, matched, quarantine, limit))
    if not rows:
        raise ValueError(f"{source}: got no records; expected at least one")
    write(out, predictor, matched.given, rows)
    _summary(out, predictor, rows, quarantine)


def predictions(
    predictor: Predictor, matched: Matched, quarantine: Quarantine, limit: int | None
) -> Iterator[Row]:
    """A row for every record; the media of some hundred are held at a time."""
    total = len(matched.records) if isinstance(matched.records, Sequence) else None
    total = min(total, limit) if total is not None and limit is not None else total or limit
    records = iter(islice(matched.records, limit))
    with tqdm(total=total, desc="predicting", unit="", disable=None) as bar:
        while some := list(islice(records, ROWS)):
            found = predictor.stream([matched.renamed(sample) for sample in some], quarantine)
            for sample, prediction in zip(some, found, strict=True):
                yield Row(sample.id, _theirs(sample), prediction)
            bar.update(len(some))


def _theirs(sample: Sample) -> dict[str, Any]:
    """A record as it came: paths, words and fields. What has no words (bytes, arrays) is left out."""
    cells: dict[str, Any] = {}
    for name, media in sample.columns.items():
        if isinstance(media, Source) and media.path is not None:
            cells[name] = str(media.path)
        elif isinstance(media, str):
            cells[name] = media
    return cells | {name: cell for name, cell in sample.fields.items() if cell is not None}


def write(out: Path, predictor: Predictor, given: Collection[str], rows: Sequence[Row]) -> None:
    """All rows as CSV or Parquet, by the name's ending. A file that is there is replaced once all is written.

    given: the source's columns of media, which stand first

    Columns: id, the source's own, then of each task the answer and the probability of every label, gates where the
    fusion has them, and the columns that were seen. A name of the source that is one of these gets "source_" before.
    """
    ours = [_ours(predictor, row.found) for row in rows]
    named: dict[str, list[Any]] = {"id": [row.id for row in rows]}
    filled = dict.fromkeys(name for row in rows for name in row.theirs)
    for name in [
        *(name for name in given if name in filled),
        *(name for name in filled if name not in given),
    ]:
        taken = name == "id" or any(name in one for one in ours[:1])
        named[f"source_{name}" if taken else name] = [row.theirs.get(name) for row in rows]
    gated = any(row.found is not None and row.found.gates is not None for row in rows)
    for name in ours[0]:
        if gated or not name.startswith(GATE):
            named[name] = [one[name] for one in ours]
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        (_write_csv if out.suffix.lower() == ".csv" else _write_parquet)(fresh, named)
        os.replace(fresh, out)
    finally:
        with suppress(FileNotFoundError):
            fresh.unlink()


def _ours(predictor: Predictor, found: Prediction | None) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for task in predictor.tasks:
        cells[f"predicted_{task.name}"] = None if found is None else found.answers[task.name]
        for label in getattr(task, "labels", ()):
            probability = None if found is None else found.probabilities[task.name][label]
            cells[f"probability_{task.name}_{label}"] = probability
    for column in predictor.columns:
        cells[f"{GATE}{column}"] = None if found is None or found.gates is None else found.gates[column]
    return cells | {"seen": "" if found is None else "+".join(found.seen)}


def _write_csv(file: Path, named: Mapping[str, Sequence[Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(named)
        writer.writerows([_cell(value) for value in row] for row in zip(*named.values(), strict=True))


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple) and all(isinstance(one, str | int | float) for one in value):
        return BETWEEN.join(str(_cell(one)) for one in value)
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else value


def _write_parquet(file: Path, named: Mapping[str, Sequence[Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    arrays = {}
    for name, values in named.items():
        try:
            arrays[name] = pyarrow.array(values)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError):
            # cells of several types, as in JSONL: as they stand in CSV
            arrays[name] = pyarrow.array([None if value is None else str(_cell(value)) for value in values])
    pyarrow.parquet.write_table(pyarrow.table(arrays), file)


def _reading(predictor: Predictor, matched: Matched) -> str:
    """Which columns are read as which, in words."""
    words = [
        f"{name} ← {matched.columns[name]}" if name in matched.columns else f"{name}: not there"
        for name in predictor.columns
    ]
    unread = [name for name in matched.given if name not in matched.columns.values()]
    return f"reading {', '.join(words)}" + (f"; not read: {', '.join(unread)}" if unread else "")


def _summary(out: Path, predictor: Predictor, rows: Sequence[Row], quarantine: Quarantine) -> None:
    console = Console()
    known = [row.found for row in rows if row.found is not None]
    for task in predictor.tasks:
        grid = Table(title=task.name, title_justify="left", title_style="bold", box=None, header_style="bold")
        for line in _told(task, [found.answers[task.name] for found in known], grid):
            grid.add_row(*line)
        console.print(grid)
    seen = Counter("+".join(found.seen) for found in known)
    print("predicted from " + ", ".join(f"{columns} in {count:,}" for columns, count in seen.most_common()))
    if len(known) < len(rows):
        print(f"without any column that the model reads: {len(rows) - len(known):,}, left empty in {out}")
    if quarantine.bad:
        print(f"{quarantine.bad:,} media could not be decoded and were not read: see {quarantine.path}")
    print(f"written: {out}, {len(rows):,} rows")


def _told(task: Task, answers: Sequence[Any], grid: Table) -> list[tuple[str, ...]]:
    """Lines of one task's table: rows a label, or how the numbers lie."""
    if isinstance(task, OneOf | AnyOf):
        counts = Counter(
            label for answer in answers for label in (answer if isinstance(answer, list) else [answer])
        )
        grid.add_column("label", overflow="fold")
        grid.add_column("rows", justify="right")
        lines: list[tuple[str, ...]] = [(label, f"{count:,}") for label, count in counts.most_common(SHOWN)]
        return lines + ([("…", f"{len(counts) - SHOWN} labels more")] if len(counts) > SHOWN else [])
    parts = ("cx", "cy", "w", "h") if isinstance(task, Box) else (task.field,)
    for heading in ("", "smallest", "mean", "largest"):
        grid.add_column(heading, justify="right")
    table = np.array(answers, dtype=float).reshape(len(answers), len(parts))
    if not len(answers):
        return []
    each = zip(parts, table.min(0), table.mean(0), table.max(0))
    return [(part, *(f"{number:.3g}" for number in numbers)) for part, *numbers in each]
