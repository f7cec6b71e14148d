"""NLVR2: is a sentence about two photographs true? -> samples.

Suhr, Zhou, Zhang, Zhang, Bai and Artzi, "A Corpus for Reasoning about Natural Language Grounded in Photographs", ACL
2019 (arXiv:1811.00491); https://lil.nlp.cornell.edu/nlvr/

Sentences and labels are Creative Commons BY 4.0. The photographs are not: they were found by web search and belong to
their owners; Cornell hands them out for research on request.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sensorium.data.readers.layouts import (
    chosen,
    first_folder,
    first_object,
    lacks,
    one_of_each,
    split_of,
    yes_or_no,
)
from sensorium.data.readers.rows import Layout, ReaderError, Samples
from sensorium.data.readers.table import table_rows

PARTS = ("train", "dev", "test1", "test2")
LISTS = (".", "data")  # where the lists lie
EXPECTED = (
    "nlvr2/{train.json, dev.json, test1.json, images/{train/<directory>, dev, test1}/dev-850-0-img0.png, …}"
)
MODALITY = {"left": "image", "right": "image", "text": "text"}
KEPT = ("synset", "query", "writer")


def is_nlvr2(folder: Path) -> bool:
    there = _there(folder)
    return bool(there) and {"identifier", "sentence"} <= set(first_object(next(iter(there.values()))))


def read_nlvr2(
    path: str | os.PathLike, *, parts: Sequence[str] | None = None, allow_outside: bool = False
) -> Samples:
    """The sentences of all parts that are there, in the order train, dev, test1; ids are their identifiers.

    Columns: left, right (images), text. Fields:
    label: "yes" where the sentence is true of the two pictures, "no" where it is not, None where it is not said
    split: train, validation or test
    part:  train, dev or test1
    synset, query, writer: as in the files

    parts: read only these. Lists lie in the folder or in its data/; pictures in images/<part>/, <part>/ or images/,
    those of train also in a folder <directory> below. They are opened when they are needed: those that could not be
    downloaded are quarantined then. allow_outside: let names and links lead out of the folder.

    Raises `ReaderError` for another folder, and with the line for a bad row.
    """
    root = Path(path)
    there = _there(root)
    if not there:
        raise lacks(root, "NLVR2", "train.json, dev.json or test1.json", EXPECTED)
    layout = Layout(MODALITY, meanings=(), folder=root, allow_outside=allow_outside)
    samples = Samples()
    is_folder = lru_cache(maxsize=None)(lambda name: (root / name).is_dir())
    for part in chosen(list(there), parts, str(root)):
        pictures = first_folder(root, (f"images/{part}", part, "images"))
        for line, cells in table_rows(there[part], suffix=".jsonl"):
            where = f"{there[part]}:{line}"
            _check(cells, where)
            folder = f"{pictures}/{cells['directory']}" if "directory" in cells else pictures
            folder = folder if is_folder(folder) else pictures
            pair = str(cells["identifier"]).rpartition("-")[0]  # less the number of its sentence
            row = {
                "id": cells["identifier"],
                "left": f"{folder}/{pair}-img0.png",
                "right": f"{folder}/{pair}-img1.png",
                "text": cells["sentence"],
                "label": yes_or_no(cells.get("label"), ("True", True), ("False", False), where),
                "split": split_of(part, where),
                "part": part,
                **{name: cells[name] for name in KEPT if name in cells},
            }
            samples.append(layout.sample(row, where, where))
    one_of_each(samples, str(root))
    return samples


def _there(root: Path) -> dict[str, Path]:
    """List by part."""
    found: dict[str, Path] = {}
    for part in PARTS:
        for folder in LISTS:
            if (root / folder / f"{part}.json").is_file():
                found.setdefault(part, root / folder / f"{part}.json")
    return found


def _check(cells: Mapping[str, Any], where: str) -> None:
    identifier = cells.get("identifier")
    if not isinstance(identifier, str) or identifier.count("-") != 3:
        raise ReaderError(
            f"{where}: got the identifier {identifier!r}; expected split-set-pair-sentence, 'dev-850-0-1'"
        )
    if "sentence" not in cells:
        raise ReaderError(f"{where}: no sentence in {', '.join(cells)}")
