"""ESC-50: five-second recordings of fifty everyday sounds -> samples.

Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015;
https://github.com/karolpiczak/ESC-50

Creative Commons BY-NC 3.0: no commercial use; the ten classes of ESC-10 are BY. Each clip's author stands in the data
set's LICENSE file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensorium.data.readers.layouts import lacks, one_of_each
from sensorium.data.readers.rows import Layout, ReaderError, Samples
from sensorium.data.readers.table import table_rows

LIST = "meta/esc50.csv"
EXPECTED = "ESC-50/{meta/esc50.csv, audio/{1-100032-A-0.wav, …}}"
NEEDED = ("filename", "fold", "category")


def is_esc50(folder: Path) -> bool:
    return (folder / LIST).is_file()


def read_esc50(
    path: str | os.PathLike,
    *,
    folds: Sequence[int] | None = None,
    test_fold: int | None = 5,
    esc10: bool = False,
    allow_outside: bool = False,
) -> Samples:
    """The clips that `meta/esc50.csv` names, in its order; ids are the file names.

    Column: audio. Fields:
    category: one of fifty, such as "crying_baby"
    fold:     1 to 5. Clips cut from one recording are in one fold, so only whole folds may be held out
    split:    "test" in `test_fold`, "train" in the others; absent when test_fold is None. Published scores are means
              over the five choices of it; that of one fold is not comparable
    esc10:    whether it is one of ESC-10's
    take, src_file: which cut of which recording of Freesound

    folds: only clips of these folds. esc10: only those of ESC-10. Sounds are opened when they are needed.
    allow_outside: let names and links lead out of the folder.

    Raises `ReaderError` for another folder, and with the line for a bad row.
    """
    root = Path(path)
    if not is_esc50(root):
        raise lacks(root, "ESC-50", LIST, EXPECTED)
    layout = Layout({"audio": "audio"}, meanings=["category"], folder=root, allow_outside=allow_outside)
    rows = [
        (_row(cells, test_fold, f"{root / LIST}:{line}"), f"{root / LIST}:{line}")
        for line, cells in table_rows(root / LIST)
    ]
    there = sorted({row["fold"] for row, _ in rows})
    asked = [*(folds or ()), *([] if test_fold is None else [test_fold])]
    if unknown := [fold for fold in asked if fold not in there]:
        raise ReaderError(
            f"{root}: no fold {unknown[0]!r}; there are {', '.join(map(str, there))}."
            " Choose with folds= and test_fold= (None: no field 'split')"
        )
    samples = Samples(
        layout.sample(row, row["id"], where)
        for row, where in rows
        if (folds is None or row["fold"] in folds) and (row["esc10"] or not esc10)
    )
    one_of_each(samples, str(root / LIST))
    return samples


def _row(cells: dict[str, Any], test_fold: int | None, where: str) -> dict[str, Any]:
    if lacking := [name for name in NEEDED if name not in cells]:
        raise ReaderError(
            f"{where}: nothing in {', '.join(lacking)}; expected the columns {', '.join(NEEDED)}, got "
            f"{', '.join(cells)}"
        )
    if not str(cells["fold"]).strip().isdigit():
        raise ReaderError(f"{where}: got the fold {cells['fold']!r}; expected a number from 1 to 5")
    fold = int(cells["fold"])
    return {
        "id": cells["filename"],
        "audio": f"audio/{cells['filename']}",
        "category": cells["category"],
        "fold": fold,
        **({} if test_fold is None else {"split": "test" if fold == test_fold else "train"}),
        "esc10": str(cells.get("esc10", "")).strip().lower() == "true",
        **{name: cells[name] for name in ("take", "src_file") if name in cells},
    }
