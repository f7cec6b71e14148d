"""CMU-MOSI and CMU-MOSEI, cut into clips: what people say in a video and how positive it is -> samples.

Zadeh, Zellers, Pincus and Morency, "MOSI", 2016 (arXiv:1606.06259); Zadeh, Liang, Poria, Cambria and Morency,
"Multimodal Language Analysis in the Wild", ACL 2018; http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/. Laid
out as for MMSA (Mao et al., ACL 2022 demonstrations; https://github.com/thuiar/MMSA), as is CH-SIMS (Yu et al., ACL
2020).

The videos were taken from YouTube and belong to their speakers, whose faces and voices they show: for research only,
and not to be passed on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sensorium.data.readers.layouts import lacks, one_of_each, split_of
from sensorium.data.readers.rows import Layout, ReaderError, Samples
from sensorium.data.readers.table import table_rows

LABELS, CLIPS = "label.csv", "Raw"
EXPECTED = f"MOSI/{{{LABELS}, {CLIPS}/<video_id>/<clip_id>.mp4}}"
NEEDED = ("video_id", "clip_id", "text", "label", "mode")
PICKLES = (".pkl", ".pickle", ".p")
MODALITY = {"video": "video", "audio": "audio", "text": "text"}
# CH-SIMS also has the sentiment of each modality by itself.
ALONE = {"label_T": "text_sentiment", "label_A": "audio_sentiment", "label_V": "video_sentiment"}


def is_mosi(folder: Path) -> bool:
    if not (folder / LABELS).is_file() or not (folder / CLIPS).is_dir():
        return False
    with (folder / LABELS).open(encoding="utf-8-sig", errors="replace") as lines:
        return {"video_id", "clip_id"} <= {name.strip() for name in lines.readline().split(",")}


def read_mosi(path: str | os.PathLike, *, allow_outside: bool = False) -> Samples:
    """The clips that `label.csv` names, in its order; ids are "<video_id>/<clip_id>".

    Columns: video, audio (the sound track of the same file), text. Fields:
    sentiment: -3 (very negative) to 3, a float; in CH-SIMS -1 to 1
    polarity:  negative, neutral (exactly 0) or positive
    split:     train, validation or test, from the column "mode"
    video_id, clip_id, and of CH-SIMS text_sentiment, audio_sentiment, video_sentiment

    Clips are opened when they are needed. allow_outside: let names and links lead out of the folder.

    Raises `ReaderError` for another folder, with the line for a bad label, and for pickled features, which are refused
    unopened: a pickle runs whatever code it holds.
    """
    root = Path(path)
    refuse_pickles(root)
    if not (root / LABELS).is_file():
        raise lacks(root, "CMU-MOSI or CMU-MOSEI", LABELS, EXPECTED)
    if not (root / CLIPS).is_dir():
        raise lacks(root, "CMU-MOSI or CMU-MOSEI with its clips", f"{CLIPS}/", EXPECTED)
    layout = Layout(MODALITY, meanings=["text"], folder=root, allow_outside=allow_outside)
    samples = Samples(
        layout.sample(_row(cells, f"{root / LABELS}:{line}"), str(line), f"{root / LABELS}:{line}")
        for line, cells in table_rows(root / LABELS)
    )
    one_of_each(samples, str(root / LABELS))
    return samples


def refuse_pickles(path: Path) -> None:
    """Raises `ReaderError` for a pickle, or a folder of them without the list of clips. None is opened."""
    if path.suffix.lower() in PICKLES:
        found = [path.name]
    elif path.is_dir() and not (path / LABELS).exists():
        found = sorted(one.name for one in path.iterdir() if one.suffix.lower() in PICKLES)
    else:
        found = []
    if found:
        raise ReaderError(
            f"{path}: {', '.join(found[:3])} not opened, since a pickle runs whatever code it holds; expected the "
            f"clips themselves, {EXPECTED}. Of pickled features, write what you need to a table with a program that "
            "you trust: a .jsonl of text, sentiment, split and a list of numbers a modality, which "
            'read(file, columns={"text": "text", "audio": "state", "video": "state"}) takes'
        )


def polarity(sentiment: float) -> str:
    return "neutral" if sentiment == 0 else "positive" if sentiment > 0 else "negative"


def _row(cells: dict[str, Any], where: str) -> dict[str, Any]:
    if lacking := [name for name in NEEDED if name not in cells and name != "text"]:
        raise ReaderError(
            f"{where}: nothing in {', '.join(lacking)}; expected the columns {', '.join(NEEDED)}, got "
            f"{', '.join(cells)}"
        )
    video_id, clip_id = str(cells["video_id"]).strip(), str(cells["clip_id"]).strip()
    clip = f"{CLIPS}/{video_id}/{clip_id}.mp4"
    sentiment = _sentiment(cells["label"], where)
    return {
        "id": f"{video_id}/{clip_id}",
        "video": clip,
        "audio": clip,
        "text": str(cells.get("text", "")).strip(),
        "sentiment": sentiment,
        "polarity": polarity(sentiment),
        "split": split_of(str(cells["mode"]), where),
        "video_id": video_id,
        "clip_id": clip_id,
        **{name: _sentiment(cells[key], where) for key, name in ALONE.items() if key in cells},
    }


def _sentiment(cell: Any, where: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = float("nan")
    if not -3 <= number <= 3:
        raise ReaderError(f"{where}: got the sentiment {cell!r}; expected a number from -3 to 3")
    return number
