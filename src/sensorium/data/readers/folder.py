"""A folder of media -> samples: sub-folders as labels, side-car captions, caption lists."""

from __future__ import annotations

import csv
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet

from sensorium.data.readers.rows import LOOKED_AT, TEXT_NAMES, Layout, ReaderError, Samples, columns_of
from sensorium.data.readers.table import hugging_face_names, table_rows
from sensorium.media import modality_of

METADATA = (
    "metadata.jsonl",
    "metadata.csv",
    "metadata.parquet",
    "captions.csv",
    "captions.tsv",
    "captions.txt",
)
SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
FIRST = ("image", "video", "audio", "text")  # the file that names the record is of the first of these it has

log = logging.getLogger(__name__)


def read_folder(
    path: str | os.PathLike,
    columns: Mapping[str, str] | None = None,
    *,
    labels: bool | None = None,
    meanings: Sequence[str] | None = None,
    allow_outside: bool = False,
) -> Samples:
    """Every media file below a folder, in the order of their paths; ids are the paths.

    Columns are called as their modality. Files that differ in the suffix only are one record: `x.jpg` and
    `x.txt` (its caption), `x.jpg` and `x.wav`; but two of one modality (`x.jpg`, `x.png`) are two records
    with the same caption. Captions and fields are also taken from lists anywhere below: `metadata.jsonl`,
    `.csv` or `.parquet` with `file_name` (as for Hugging Face's image folders) and `captions.txt`, `.csv` or
    `.tsv` of a file and a caption a line (as Flickr8k's). Several captions of a file: the column is the
    first, all are a field and meanings.

    columns:       keep these only; also declares text columns of metadata that have uncommon names
    labels:        the field "label" is the name of the file's folder, and "split" that of the first one when
                   all are called train, test, …. None: when all files lie equally deep, in two folders at
                   least, and no list describes them
    meanings:      see `rows.Layout`
    allow_outside: lists may name files that lie elsewhere

    Hidden files are passed over; `Samples.skipped` names all others that are no media.
    """
    root = Path(path)
    if not root.is_dir():
        raise ReaderError(f"{root}: expected a folder")
    lists, media, skipped = _found(root)
    rows = _grouped(root, media, skipped)
    described = [file for file in lists if _describe(root, file, rows, skipped)]
    if not rows:
        raise ReaderError(
            f"{root}: no media found ({len(skipped)} other files{_endings(skipped)}); expected pictures, "
            "sound, video or text files. For lists or archives name the file itself"
        )
    where = [PurePosixPath(name).parent for name in rows]
    if labels is None:
        labels = not described and len({len(folder.parts) for folder in where}) == 1 and len(set(where)) > 1
    if labels:
        splits = all(folder.parts and folder.parts[0].lower() in SPLITS for folder in where)
        for row, folder in zip(rows.values(), where):
            row |= _label(folder, splits)
    ordered = dict(sorted(rows.items()))
    names = dict.fromkeys(name for row in ordered.values() for name in row)
    modality = columns_of(_spread(ordered, names), names, columns, str(root))
    layout = Layout(modality, None, meanings, root, allow_outside)
    if skipped:
        log.warning(
            "%s: skipped %d files that are neither media nor captions of any%s",
            root,
            len(skipped),
            _endings(skipped),
        )
    return Samples((layout.sample(row, name, f"{root / name}") for name, row in ordered.items()), skipped)


def _found(root: Path) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Lists, media and others below root, as paths relative to it with slashes."""
    lists, media, skipped = [], [], []
    for name in sorted(_walk(root)):
        file = PurePosixPath(name)
        if file.name.lower() in METADATA:
            lists.append(name)
        elif modality_of(file) is not None:
            media.append(name)
        else:
            skipped.append((name, f"no media by its ending {file.suffix!r}"))
    return lists, media, skipped


def _walk(root: Path) -> Iterator[str]:
    """Visible files; linked folders are entered, each folder once, so that circles end."""
    entered = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in files:
            if not name.startswith("."):
                yield Path(folder, name).relative_to(root).as_posix()


def _grouped(root: Path, media: Sequence[str], skipped: list[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Media -> row by the name of its first file: its columns as paths."""
    stems: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in media:
        stems[str(PurePosixPath(name).with_suffix(""))][str(modality_of(name))].append(name)
    only_text = all(set(stem) == {"text"} for stem in stems.values())
    rows: dict[str, dict[str, Any]] = {}
    for stem in stems.values():
        captions = stem.pop("text", [])
        if not stem and not only_text:
            skipped += [(name, "text without media of its name") for name in captions]
            continue
        if not stem:
            groups = [[name] for name in captions]
        elif all(len(names) == 1 for names in stem.values()):
            groups = [[stem[modality][0] for modality in FIRST if modality in stem]]
        else:
            groups = [[name] for names in stem.values() for name in names]
        for group in groups:
            files = group if only_text else group + captions[:1]
            rows[group[0]] = {str(modality_of(name)): root / name for name in files}
    return rows


def _describe(
    root: Path, list_: str, rows: dict[str, dict[str, Any]], skipped: list[tuple[str, str]]
) -> bool:
    """Add to the rows what one list says of them; False when it is no list."""
    entries = _entries(root / list_)
    if entries is None:
        skipped.append((list_, "no list of a media file and a caption a line"))
        return False
    folder = PurePosixPath(list_).parent
    owners = {}  # every file of a row -> its name
    for name, row in rows.items():
        for cell in row.values():
            if isinstance(cell, Path):
                owners[cell.relative_to(root).as_posix()] = name
    by_name = defaultdict(list)
    for file in owners:
        by_name[PurePosixPath(file).name].append(file)
    described: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line, entry in entries:
        files = {key: os.path.normpath(folder / cell) for key, cell in entry.items() if _is_file(key, cell)}
        if not files:
            raise ReaderError(f"{root / list_}:{line}: no file name in {entry}; expected one in 'file_name'")
        first = min(files, key=lambda key: FIRST.index(str(modality_of(files[key]))))
        file = files[first]
        if file not in owners and len(by_name[PurePosixPath(file).name]) == 1:  # beside its pictures' folder
            [file] = by_name[PurePosixPath(file).name]
        name = owners.get(file, file)
        # A file that is not there stays in the row and is quarantined when it is to be decoded.
        rows.setdefault(name, {str(modality_of(file)): file})
        described[name].append({key: files.get(key, cell) for key, cell in entry.items() if key != first})
    for name, entries_of_one in described.items():
        for key in dict.fromkeys(key for entry in entries_of_one for key in entry):
            cells = [entry[key] for entry in entries_of_one if key in entry]
            rows[name][key] = cells[0] if all(cell == cells[0] for cell in cells) else cells
    return True


def _entries(file: Path) -> list[tuple[int, dict[str, Any]]] | None:
    if file.suffix.lower() == ".parquet":
        table = pyarrow.parquet.read_table(file).to_pylist()
        return [(number, hugging_face_names(row)) for number, row in enumerate(table)]
    if file.name.lower() in ("captions.txt", "captions.csv", "captions.tsv"):
        return _captions(file)
    return table_rows(file)


def _captions(file: Path) -> list[tuple[int, dict[str, Any]]] | None:
    """Lines of file, tab or comma, and caption, with or without a header; `x.jpg#2` is its caption 2."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ReaderError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    entries, strange = [], []
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t", 1) if "\t" in line else next(csv.reader([line]), [])
        name, _, which = cells[0].strip().rpartition("#") if cells else ("", "", "")
        name = name if name and which.isdigit() else cells[0].strip() if cells else ""
        caption = ",".join(cells[1:]).strip().strip('"')
        if modality_of(name) is not None and caption:
            entries.append((number, {str(modality_of(name)): name, "text": caption}))
        elif line.strip() and number > 1:  # the first may be a header
            strange.append(number)
    if entries and strange:
        raise ReaderError(f"{file}:{strange[0]}: expected a media file, a tab or comma, and a caption")
    return entries or None


def _is_file(key: str, cell: Any) -> bool:
    return (
        isinstance(cell, str) and key not in TEXT_NAMES and modality_of(cell) in ("image", "video", "audio")
    )


def _label(folder: PurePosixPath, splits: bool) -> dict[str, str]:
    parts = list(folder.parts)
    found = {}
    if splits:
        found["split"] = parts.pop(0)
    if parts:
        found["label"] = parts[-1]
    return found


def _spread(
    rows: Mapping[str, dict[str, Any]], names: Sequence[str] | Mapping[str, None]
) -> list[dict[str, Any]]:
    """Rows to guess from: the first that have each name (a column may begin late in a sorted folder)."""
    return [
        {name: row[name]}
        for name in names
        for row in [row for row in rows.values() if name in row][:LOOKED_AT]
    ]


def _endings(skipped: Sequence[tuple[str, str]]) -> str:
    counts = Counter(PurePosixPath(name).suffix or PurePosixPath(name).name for name, _ in skipped)
    return ": " + ", ".join(f"{count} {ending}" for ending, count in counts.most_common(5)) if counts else ""
