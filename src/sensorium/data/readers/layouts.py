"""What readers of published data sets share: what a folder lacks, which of its parts are read, how splits are called.

Their fields "split" say train, validation or test, whatever the data set calls them; "part" is the data set's own name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sensorium.data.readers.rows import ReaderError
from sensorium.data.sample import Sample

SHOWN = 6  # names that an error shows of a folder
HEAD_BYTES = 1 << 16  # of a list's first line, looked at to tell what it is
_SPLITS = (("train", "train"), ("val", "validation"), ("dev", "validation"), ("test", "test"))


def split_of(part: str, where: str) -> str:
    """train, validation or test, from a name that begins like one of them: "val2014", "dev_seen", "test1"."""
    for start, split in _SPLITS:
        if part.strip().lower().startswith(start):
            return split
    raise ReaderError(
        f"{where}: got the split {part!r}; expected a name that begins with train, val, dev or test"
    )


def lacks(folder: Path, data_set: str, missing: str, expected: str) -> ReaderError:
    """The error for a folder that is not laid out as the data set: what is missing, what is there instead."""
    if not folder.is_dir():
        what = "a file, not a folder" if folder.exists() else "no such folder"
        return ReaderError(f"{folder}: {what}; expected {data_set} laid out as {expected}")
    names = sorted(f"{one.name}/" if one.is_dir() else one.name for one in os.scandir(folder))
    found = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return ReaderError(
        f"{folder}: {missing} is missing, so this is not {data_set}; found {found or 'an empty folder'}; expected "
        f"{expected}"
    )


def chosen(there: Sequence[str], parts: Sequence[str] | None, where: str) -> list[str]:
    """The parts that are to be read, by default all. Raises `ReaderError` for one that is not there."""
    if isinstance(parts, str):
        raise ReaderError(f"parts: got the text {parts!r}; expected a list such as [{parts!r}]")
    if unknown := [part for part in parts or () if part not in there]:
        raise ReaderError(f"{where}: no part {', '.join(unknown)}; there are {', '.join(there)}")
    return list(there) if parts is None else [part for part in there if part in parts]


def one_of_each(samples: Iterable[Sample], where: str) -> None:
    """Raises `ReaderError` when two records have one id."""
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise ReaderError(f"{where}: {sample.id!r} is listed twice; expected every record once")
        seen.add(sample.id)


def first_folder(root: Path, names: Sequence[str]) -> str:
    """The first of these folders below the root that exists; the first of all when none does."""
    return next((name for name in names if (root / name).is_dir()), names[0])


def first_object(file: Path) -> dict[str, Any]:
    """The JSON object on a file's first line; {} when there is none."""
    if not file.is_file():
        return {}
    try:
        with file.open("rb") as stream:
            value = json.loads(stream.readline(HEAD_BYTES))
    except (OSError, ValueError):  # unreadable, or no JSON: not what is looked for
        return {}
    return value if isinstance(value, dict) else {}


def yes_or_no(value: Any, yes: Sequence[Any], no: Sequence[Any], where: str) -> str | None:
    """ "yes" or "no"; None where there is no label."""
    if value is None:
        return None
    if value in yes:
        return "yes"
    if value in no:
        return "no"
    raise ReaderError(f"{where}: got the label {value!r}; expected one of {[*yes, *no]}")
