"""One row of any list -> `Sample`: which columns hold media, what a cell means, which paths are refused.

{name: cell} + columns -> Sample
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.data.sample import Sample
from sensorium.media import MODALITIES, Audio, Media, MediaError, Source, Video, modality_of
from sensorium.media.signatures import HEAD, kind_of

# Names by which people call a column of words; strings in other columns stay fields.
TEXT_NAMES = ("text", "caption", "sentence", "title", "description", "transcript", "transcription", "prompt")
_LISTS = tuple(f"{name}s" for name in TEXT_NAMES)
_MODALITY_OF_KIND = {"picture": "image", "sound": "audio", "video": "video"}
LOOKED_AT = 100  # rows that a guess is made from


class ReaderError(ValueError):
    """Data that cannot be read as asked: where, what was got, what was expected, what to type."""


class Samples(list[Sample]):
    """A list of records. skipped: (file, reason) of every file that was found and left out."""

    def __init__(self, samples: Iterable[Sample] = (), skipped: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(samples)
        self.skipped = tuple(skipped)


@dataclass(frozen=True)
class Layout:
    """How the rows of one data set become samples.

    modality:      of every column; all other cells become fields
    id:            the name of the cell that is the id; rows without it are called by their number
    meanings:      names of the cells that say what a row means. None takes the columns of text, or the field
                   "label" where there is no text
    folder:        what paths in the rows are relative to, and must not lead out of; None: rows have no paths
    allow_outside: let them lead anywhere
    """

    modality: Mapping[str, str]
    id: str | None = "id"
    meanings: Sequence[str] | None = None
    folder: Path | None = None
    allow_outside: bool = False

    def sample(self, row: Mapping[str, Any], default_id: str, where: str) -> Sample:
        """`where` names the row in errors. Raises `ReaderError` for cells that its column cannot hold."""
        columns: dict[str, Media | Source] = {}
        fields = {name: cell for name, cell in row.items() if name not in self.modality and name != self.id}
        for name, modality in self.modality.items():
            cell = row.get(name)
            if modality == "text" and isinstance(cell, list | tuple):
                cell = [one for one in cell if not is_missing(one)]
                fields[name] = cell
                cell = cell[0] if cell else None
            if not is_missing(cell):
                columns[name] = self._media(cell, name, modality, f"{where}, {name}")
        id = row.get(self.id) if self.id is not None else None
        return Sample(
            id=default_id if is_missing(id) else str(id),
            columns=columns,
            modality=self.modality,
            meanings=self._meanings(columns, fields),
            fields=fields,
        )

    def _meanings(self, columns: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[str, ...]:
        names = self.meanings
        if names is None:
            names = [name for name, modality in self.modality.items() if modality == "text"] or ["label"]
        keys = []
        for name in names:
            cell = fields.get(name, columns.get(name))
            for one in cell if isinstance(cell, list | tuple) else [cell]:
                if not is_missing(one) and not isinstance(one, Source):
                    keys.append(f"{name}:{' '.join(str(one).casefold().split())}")
        return tuple(dict.fromkeys(keys))

    def _media(self, cell: Any, name: str, modality: str, where: str) -> Media | Source:
        if modality == "state":
            state = np.asarray(cell)
            if state.ndim != 1 or state.dtype.kind not in "fiub":
                raise ReaderError(f"{where}: got {_short(cell)}; expected a list of numbers for a state")
            return state.astype(np.float32)
        if isinstance(cell, Mapping):  # as Hugging Face keeps media: {"bytes": …, "path": …}
            inner = cell.get("bytes")
            cell = cell.get("path") if inner is None else inner
        if isinstance(cell, bytes):
            return decoded_text(Source(modality, data=cell, name=where))
        if isinstance(cell, Path):  # found by a reader, not named in a list
            return decoded_text(Source(modality, cell))
        if modality == "text" and isinstance(cell, str):
            return cell
        if isinstance(cell, str):
            return self._named(cell, modality, where)
        if (
            (isinstance(cell, Source) and cell.modality == modality)
            or (isinstance(cell, Audio) and modality == "audio")
            or (isinstance(cell, Video) and modality == "video")
            or (isinstance(cell, np.ndarray) and modality == "image" and _is_picture(cell))
        ):
            return cell
        expected = "a text" if modality == "text" else f"the path or bytes of one {modality}"
        raise ReaderError(
            f"{where}: got {_short(cell)}; expected {expected}. Declare the column's modality with "
            f"columns={{{name!r}: …}} or leave it out of columns"
        )

    def _named(self, path: str, modality: str, where: str) -> Source:
        if "://" in path or path.startswith("data:"):
            raise ReaderError(
                f"{where}: got the address {_short(path)}; readers fetch nothing: name a local file"
            )
        if self.folder is None:
            raise ReaderError(f"{where}: got the path {_short(path)}; expected the bytes themselves here")
        full = Path(os.path.normpath(self.folder.absolute() / path))
        if self.allow_outside:
            return Source(modality, full)
        if not full.is_relative_to(os.path.normpath(self.folder.absolute())):
            raise ReaderError(
                f"{where}: {_short(path)} leads out of {self.folder}; expected a path below it. If you trust "
                "this list, pass allow_outside=True"
            )
        return Source(modality, full, within=self.folder)


def decoded_text(source: Source) -> Media | Source:
    """Texts are read at once, so that equal ones are known to mean the same; the others stay undecoded.

    A text that cannot be read stays too, and meets its error where media are decoded.
    """
    if source.modality != "text":
        return source
    try:
        return str(source.decode()).strip()
    except MediaError:
        return source


def columns_of(
    rows: Iterable[Mapping[str, Any]],
    names: Iterable[str],
    columns: Mapping[str, str] | None,
    where: str,
    known: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Modality by column: as declared in `columns`, else guessed from `rows` and their `names`.

    Guessed are columns of paths or bytes of one kind of media, of words under one of `TEXT_NAMES` (or its
    plural, for lists), and lists of numbers called "state". known: what the file itself declares.
    Raises `ReaderError` when a declared column or modality does not exist, or none is found.
    """
    names, known = list(dict.fromkeys(names)), known or {}
    if columns is not None:
        for name, modality in columns.items():
            if modality not in MODALITIES:
                raise ReaderError(
                    f"columns={{{name!r}: {modality!r}}}: expected one of {', '.join(MODALITIES)}"
                )
        if absent := [name for name in columns if name not in names]:
            raise ReaderError(
                f"{where} has no column {absent}; it has {names}: name some of these in columns"
            )
        if not columns:
            raise ReaderError(f"columns is empty; {where} has {names}: give columns={{name: modality}}")
        return dict(columns)
    rows = list(rows)
    found: dict[str, str] = {}
    for name in names:
        guessed = known.get(name) or _guess(
            name, [row[name] for row in rows if not is_missing(row.get(name))]
        )
        if guessed is not None:
            found[name] = guessed
    if not found:
        raise ReaderError(
            f"{where}: no column of media among {names}; say which there are, for example "
            f"columns={{{(names or ['image'])[0]!r}: 'image'}}"
        )
    return found


def is_missing(cell: Any) -> bool:
    """Empty cells: None, "", white space, not-a-number, {"bytes": None, "path": None}."""
    if isinstance(cell, Mapping) and ("bytes" in cell or "path" in cell):
        return cell.get("bytes") is None and is_missing(cell.get("path"))
    return (
        cell is None
        or (isinstance(cell, str) and not cell.strip())
        or (isinstance(cell, float) and cell != cell)
    )


def check_ids(samples: Iterable[Sample], where: str) -> None:
    """Raises `ReaderError` when two records have one id."""
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise ReaderError(
                f"{where}: two rows have the id {sample.id!r}; expected unique ids. Name another cell with "
                "id='…', or pass id=None to number the rows"
            )
        seen.add(sample.id)


def _guess(name: str, cells: Sequence[Any]) -> str | None:
    cells = cells[:LOOKED_AT]
    if not cells:
        return None
    if name in TEXT_NAMES + _LISTS and all(isinstance(cell, str | list) for cell in cells):
        words = [one for cell in cells for one in (cell if isinstance(cell, list) else [cell])]
        return "text" if all(isinstance(one, str) for one in words) else None
    if name == "state":
        return "state" if all(np.asarray(cell).dtype.kind in "fiub" for cell in cells) else None
    kinds = [_modality_of_cell(cell) for cell in cells]
    best = max(set(kinds), key=kinds.count)
    # A few broken ones do not change what the column is; they will be quarantined.
    return best if best is not None and kinds.count(best) + kinds.count(None) == len(kinds) else None


def _modality_of_cell(cell: Any) -> str | None:
    if isinstance(cell, Mapping):
        inner = cell.get("bytes")
        cell = cell.get("path") if inner is None else inner
    if isinstance(cell, bytes):
        return _MODALITY_OF_KIND.get(kind_of(cell[:HEAD]).split()[-1])
    if isinstance(cell, Path) or (isinstance(cell, str) and len(cell) < 1024 and "\n" not in cell):
        modality = modality_of(cell)
        return modality if isinstance(cell, Path) or modality != "text" else None
    if isinstance(cell, np.ndarray):
        return "image" if _is_picture(cell) else None
    if isinstance(cell, Source):
        return cell.modality
    return "audio" if isinstance(cell, Audio) else "video" if isinstance(cell, Video) else None


def _is_picture(cell: np.ndarray) -> bool:
    return cell.dtype == np.uint8 and cell.ndim == 3 and cell.shape[2] == 3


def _short(cell: Any) -> str:
    text = repr(cell)
    return text if len(text) <= 80 else f"{text[:60]}… ({type(cell).__name__})"
