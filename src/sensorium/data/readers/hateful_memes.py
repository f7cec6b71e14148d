"""Hateful Memes: pictures with words in them, and whether the two together are hateful -> samples.

Kiela et al., "The Hateful Memes Challenge: Detecting Hate Speech in Multimodal Memes", NeurIPS 2020 (arXiv:2005.04790);
https://ai.meta.com/tools/hatefulmemes/

The licence allows research only, and no passing on; the pictures are Getty Images'. The memes are meant to hurt: do not
show them unasked. Pictures and texts come back with the other label, so that neither alone is enough. Scores are
published as the area under the ROC curve.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sensorium.data.readers.layouts import chosen, first_object, lacks, one_of_each, split_of, yes_or_no
from sensorium.data.readers.rows import Layout, ReaderError, Samples
from sensorium.data.readers.table import table_rows

PARTS = ("train", "dev", "dev_seen", "dev_unseen", "test", "test_seen", "test_unseen")
EXPECTED = "hateful_memes/{train.jsonl, dev.jsonl (or dev_seen, dev_unseen), test.jsonl, img/{42953.png, …}}"


def is_hateful_memes(folder: Path) -> bool:
    there = _there(folder)
    return bool(there) and {"id", "img", "text"} <= set(first_object(folder / f"{there[0]}.jsonl"))


def read_hateful_memes(
    path: str | os.PathLike, *, parts: Sequence[str] | None = None, allow_outside: bool = False
) -> Samples:
    """The memes of all parts that are there, in the order train, dev, test; ids are those of the files.

    Columns: image, text (the words in the picture). Fields:
    label: "yes" (1, hateful), "no" (0), None in a test part without labels
    split: train, validation or test
    part:  the file that it stands in, such as "dev_seen"

    parts: read only these files. dev_seen and dev_unseen share memes: one that stands in both is read once, as of
    the first, and `Samples.skipped` names the other line. Pictures are opened when they are needed. allow_outside:
    let paths and links lead out of the folder.

    Raises `ReaderError` for another folder, and with the line for a bad row.
    """
    root = Path(path)
    there = _there(root)
    if not there:
        missing = "img/" if root.is_dir() and not (root / "img").is_dir() else "train.jsonl"
        raise lacks(root, "Hateful Memes", missing, EXPECTED)
    layout = Layout({"image": "image", "text": "text"}, folder=root, allow_outside=allow_outside)
    samples, skipped = [], []
    first: dict[str, str] = {}  # id -> the part it was read from
    for part in chosen(there, parts, str(root)):
        file = root / f"{part}.jsonl"
        for line, cells in table_rows(file):
            where = f"{file}:{line}"
            if absent := [name for name in ("id", "img") if name not in cells]:
                raise ReaderError(
                    f"{where}: no {', '.join(absent)} in {list(cells)}; expected id, img, text, label"
                )
            id, split = str(cells["id"]), split_of(part, where)
            if split_of(first.setdefault(id, part), where) == split and first[id] != part:
                skipped.append((f"{file.name}:{line}", f"the meme {id} also stands in {first[id]}.jsonl"))
                continue
            row = {
                "id": id,
                "image": cells["img"],
                "text": cells.get("text"),
                "label": yes_or_no(cells.get("label"), (1, "1"), (0, "0"), where),
                "split": split,
                "part": part,
            }
            samples.append(layout.sample(row, id, where))
    one_of_each(samples, str(root))
    return Samples(samples, skipped)


def _there(folder: Path) -> list[str]:
    return (
        [part for part in PARTS if (folder / f"{part}.jsonl").is_file()] if (folder / "img").is_dir() else []
    )
