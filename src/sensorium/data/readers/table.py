"""Lists of records: JSONL, JSON, CSV, TSV -> samples. Held in memory: for large data take Parquet or tar."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sensorium.data.readers.rows import (
    LOOKED_AT,
    Layout,
    ReaderError,
    Samples,
    check_ids,
    columns_of,
    is_missing,
)
from sensorium.media import modality_of

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")


def read_table(
    path: str | os.PathLike,
    columns: Mapping[str, str] | None = None,
    *,
    id: str | None = "id",
    meanings: Sequence[str] | None = None,
    allow_outside: bool = False,
    delimiter: str | None = None,
) -> Samples:
    """The rows of a JSONL, JSON (one list of objects), CSV or TSV file.

    columns:       modality by column, {"image": "image", "title": "text"}; None guesses (`rows.columns_of`).
                   All other cells become fields
    id:            the column of ids, when the file has it; else rows are called "<file>:<line number>"
    meanings:      see `rows.Layout`
    allow_outside: paths of media are relative to the file and must lie in its folder, unless this is True
    delimiter:     of cells; None: tab for .tsv, comma otherwise

    A text cell may hold a list: the column is its first, all are kept as a field and as meanings. `file_name`
    and `x_file_name` are understood as in Hugging Face's image folders. Raises `ReaderError` with the line.
    """
    file = Path(path)
    rows = table_rows(file, delimiter)
    names = dict.fromkeys(name for _, row in rows for name in row)
    modality = columns_of((row for _, row in islice(rows, LOOKED_AT)), names, columns, str(file))
    layout = Layout(modality, id, meanings, file.parent, allow_outside)
    samples = Samples(layout.sample(row, f"{file.name}:{line}", f"{file}:{line}") for line, row in rows)
    check_ids(samples, str(file))
    return samples


def table_rows(
    file: Path, delimiter: str | None = None, suffix: str | None = None
) -> list[tuple[int, dict[str, Any]]]:
    """(line number, cells by name) of every row; empty cells are left out. suffix: read it as if it ended so."""
    suffix = (suffix or file.suffix).lower()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReaderError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise ReaderError(f"{file}: cannot be opened ({error.strerror})") from error
    if suffix in (".csv", ".tsv"):
        rows = _csv_rows(file, text, delimiter or ("\t" if suffix == ".tsv" else ","))
    elif suffix == ".json":
        rows = _json_rows(file, text)
    elif suffix in SUFFIXES:
        rows = _jsonl_rows(file, text)
    else:
        raise ReaderError(f"{file}: expected a file ending in {', '.join(SUFFIXES)}")
    if not rows:
        raise ReaderError(f"{file}: expected at least one row, got none")
    return [
        (line, hugging_face_names({name: cell for name, cell in row.items() if not is_missing(cell)}))
        for line, row in rows
    ]


def hugging_face_names(row: dict[str, Any]) -> dict[str, Any]:
    """`file_name` is a column called by its modality, `x_file_name` is the column x."""
    renamed = {}
    for name, cell in row.items():
        if name == "file_name" and isinstance(cell, str) and modality_of(cell) is not None:
            name = str(modality_of(cell))
        renamed[name.removesuffix("_file_name") or name] = cell
    return renamed


def _jsonl_rows(file: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for line, one in enumerate(text.split("\n"), start=1):
        if one.strip():
            rows.append(
                (line, _object(_parsed(one, f"{file}:{line}", "one JSON object a line"), f"{file}:{line}"))
            )
    return rows


def _json_rows(file: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    rows = _parsed(text, str(file), "a JSON list of objects (or name one object a line .jsonl)")
    if not isinstance(rows, list):
        raise ReaderError(f"{file}: got a JSON {type(rows).__name__}; expected a list of objects")
    return [(number, _object(row, f"{file}, item {number}")) for number, row in enumerate(rows)]


def _parsed(text: str, where: str, expected: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ReaderError(f"{where}: not JSON ({error}); expected {expected}") from error


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ReaderError(
            f'{where}: got a JSON {type(value).__name__}; expected an object such as {{"image": "a.jpg"}}'
        )
    return value


def _csv_rows(file: Path, text: str, delimiter: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    rows = []
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) != len(header):
            raise ReaderError(f"{file}:1: two columns have one name in {header}; rename one")
        for cells in reader:
            if len(cells) > len(header):
                raise ReaderError(
                    f"{file}:{reader.line_num}: got {len(cells)} cells; expected {len(header)} ({header}). "
                    f"Put cells that contain {delimiter!r} in double quotes, or pass another delimiter="
                )
            if cells:
                rows.append((reader.line_num, dict(zip(header, cells))))
    except csv.Error as error:
        raise ReaderError(f"{file}:{reader.line_num}: {error}; expected CSV with double quotes") from error
    return rows
