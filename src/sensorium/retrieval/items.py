"""What can be added to an index: files and samples, seen as single items of one modality.

folder | file | [files] | Samples -> Items
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sensorium.media import Audio, Media, MediaError, Source, Video, modality_of
from sensorium.media.source import SUFFIXES

WINDOW = 1024  # samples looked at together when sorting by length


class Record(Protocol):
    """What an index needs of a `Sample`."""

    @property
    def id(self) -> str: ...
    @property
    def columns(self) -> Mapping[str, Any]: ...
    @property
    def modality(self) -> Mapping[str, str]: ...
    @property
    def fields(self) -> Mapping[str, Any]: ...


Addable = str | os.PathLike | Iterable[str | os.PathLike] | Iterable[Record]


@dataclass(frozen=True)
class Item:
    """One piece of media on its way into the index.

    id:      the sample's id, or the file's absolute path
    column:  the sample's column, or "" for a file
    path:    where it lies on disk, "" when nowhere
    caption: words about it, shown beside it (a text is shown itself)
    fields:  columns that searches can filter on
    """

    id: str
    modality: str
    media: Media | Source
    column: str = ""
    path: str = ""
    caption: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


def items_of(
    source: Addable, modalities: Sequence[str], columns: Sequence[str] | None, fields: Sequence[str] | None
) -> tuple[Iterator[Item], int | None]:
    """The items of a source, items of like length near each other, and their number where it is known."""
    if isinstance(source, str | os.PathLike):
        source = [source]
    first, rest = _peek(source)
    if isinstance(first, str | os.PathLike):
        files = list(_files(rest, modalities))
        files.sort(key=lambda item: (item.modality, _length(item.media)))
        return iter(files), len(files)
    number = None
    if isinstance(source, list | tuple):
        number = sum(len(_columns(record, modalities, columns)) for record in source)
    return _from_records(rest, modalities, columns, fields), number


def _peek(source: Iterable) -> tuple[Any, Iterator]:
    iterator = iter(source)
    for first in iterator:
        return first, _chained(first, iterator)
    return None, iter(())


def _chained(first: Any, rest: Iterator) -> Iterator:
    yield first
    yield from rest


# ---- files -------------------------------------------------------------------------------------------------


def _files(paths: Iterable[str | os.PathLike], modalities: Sequence[str]) -> Iterator[Item]:
    """Every file at or below the paths whose suffix names a modality of the model.

    A text file beside media of the same name is that media's caption, not an item of its own.
    """
    for given in paths:
        root = Path(given).absolute()
        if root.is_file():
            modality = modality_of(root)
            if modality is None or modality not in modalities:
                raise ValueError(
                    f"{root}: got {'a file of unknown kind' if modality is None else modality}; "
                    f"this model embeds {', '.join(modalities)}"
                )
            yield _file(root, root.parent, modality, None)
        elif root.is_dir():
            found = list(_below(root, modalities))
            if not found:
                raise ValueError(
                    f"{root}: got a folder without media; expected files of {', '.join(modalities)}, such as "
                    + ", ".join(f".{SUFFIXES[m][0]}" for m in modalities if m in SUFFIXES)
                )
            yield from found
        else:
            raise ValueError(f"{given}: no such file or folder; give a folder of media, a file, or Samples")


def _below(root: Path, modalities: Sequence[str]) -> Iterator[Item]:
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        kinds = {name: modality_of(name) for name in sorted(names)}
        media_stems = {os.path.splitext(n)[0] for n, kind in kinds.items() if kind not in (None, "text")}
        texts = {os.path.splitext(n)[0]: n for n, kind in kinds.items() if kind == "text"}
        for name, kind in kinds.items():
            stem = os.path.splitext(name)[0]
            if kind is None or kind not in modalities or (kind == "text" and stem in media_stems):
                continue
            side_car = texts.get(stem) if kind != "text" else None
            yield _file(Path(folder, name), root, kind, Path(folder, side_car) if side_car else None)


def _file(path: Path, root: Path, modality: str, side_car: Path | None) -> Item:
    folder = path.parent.relative_to(root).as_posix()
    return Item(
        id=str(path),
        modality=modality,
        media=Source(modality, path=path),
        path=str(path),
        caption=_words(side_car) if side_car else "",
        fields={"folder": "" if folder == "." else folder},
    )


def _words(side_car: Path) -> str:
    """A side-car's caption; a broken one leaves its picture without words rather than out of the index."""
    try:
        return str(Source("text", path=side_car).decode()).strip()
    except MediaError:
        return ""


# ---- samples -----------------------------------------------------------------------------------------------


def _columns(record: Record, modalities: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    if columns is not None and (unknown := [c for c in columns if c not in record.modality]):
        raise ValueError(
            f"columns: got {', '.join(unknown)}; sample {record.id} has {', '.join(record.modality)}"
        )
    return [
        name
        for name in record.columns
        if record.modality[name] in modalities and (columns is None or name in columns)
    ]


def _from_records(
    records: Iterable[Record],
    modalities: Sequence[str],
    columns: Sequence[str] | None,
    fields: Sequence[str] | None,
) -> Iterator[Item]:
    records = iter(records)
    while window := list(islice(records, WINDOW)):
        items = [item for record in window for item in _record(record, modalities, columns, fields)]
        items.sort(key=lambda item: (item.modality, _length(item.media)))
        yield from items


def _record(
    record: Record, modalities: Sequence[str], columns: Sequence[str] | None, fields: Sequence[str] | None
) -> Iterator[Item]:
    kept = {n: v for n, v in record.fields.items() if fields is None or n in fields}
    for name in kept:
        if name in RESERVED or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError(
                f"field {name!r} of sample {record.id}: expected letters, digits and _, and none of "
                f"{', '.join(sorted(RESERVED))}; leave it out with add(…, fields=[…]) or rename it"
            )
    caption = next((v for v in record.columns.values() if isinstance(v, str)), "")
    for name in _columns(record, modalities, columns):
        media = record.columns[name]
        path = str(Path(media.path).absolute()) if isinstance(media, Source) and media.path else ""
        yield Item(record.id, record.modality[name], media, name, path, caption, kept)


RESERVED = frozenset(("id", "key", "column", "modality", "path", "caption", "thumbnail", "vector", "score"))


def _length(media: Media | Source) -> int:
    """A cheap stand-in for how long media is; only the order matters."""
    if isinstance(media, Source):
        if media.data is not None:
            return len(media.data)
        try:
            return os.stat(media.path).st_size  # type: ignore[arg-type]
        except OSError:  # its turn to be decoded says what is wrong with it
            return 0
    if isinstance(media, Audio):
        return len(media.samples)
    if isinstance(media, Video):
        return int(media.frames.size)
    return len(media) if isinstance(media, str) else int(np.size(media))
