"""A user's files with labels, read, checked, split and decoded for `recipes.textbook`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from tqdm import tqdm

from sensorium.data.quarantine import Quarantine
from sensorium.data.readers import read
from sensorium.data.sample import Sample
from sensorium.encoders.efficientnet_lite import letterbox
from sensorium.encoders.log_mel import RATE
from sensorium.encoders.video import FrameEncoder
from sensorium.media import Audio, MediaError, Source, Video
from sensorium.recipes.fusion_data import FEWEST, split_of, without_states
from sensorium.recipes.labels import labels_of
from sensorium.tasks import OneOf, Task

SHOWN = 8  # labels or values that an error lists


@dataclass(frozen=True)
class Labelled:
    """Records to train and to test on. modality: by column; about: what was read and guessed, for the model card."""

    tasks: tuple[Task, ...]
    modality: Mapping[str, str]
    train: list[Sample]
    test: list[Sample]
    about: str


def labelled(
    source: Path | None, images: Path | None, texts: Path | None, label: str | None, held_out: float
) -> Labelled:
    """What a user named, as records with a label each, split by label.

    Raises ValueError where that cannot be learned from: what was got, what is expected, what to type.
    """
    if (source is None) == (images is None and texts is None):
        raise ValueError(
            "which files? Give --source FOLDER (a sub-folder a label) or TABLE.csv, or --images FOLDER and --texts "
            "FOLDER, and not both"
        )
    where = str(source or images or texts)
    if source is not None:
        samples = list(read(source))
    elif images is not None and texts is not None:
        samples = paired(images, texts)
    else:
        samples = list(read(images or texts))
    samples = [with_label(sample, label) for sample in without_states(samples)]
    if label is None and not any("label" in sample.fields for sample in samples):
        raise ValueError(f"{where}: got no column 'label' and no sub-folders. {choices(samples)}")
    if label is not None and not any(label in sample.fields for sample in samples):
        raise ValueError(f"{where}: got no column {label!r}. {choices(samples)}")
    names = [label or "label"]
    values = Counter(
        str(sample.fields[names[0]]) for sample in samples if sample.fields.get(names[0]) is not None
    )
    if len(values) < 2:
        raise ValueError(
            f"{where}: every row has the same {names[0]}, {', '.join(values)!r}; expected two different ones at least. "
            f"{choices(samples)}"
        )
    found = labels_of(samples, names, where)
    task = found.tasks[0]
    known = [s for s in found.samples if s.fields.get(task.field) is not None and s.columns]
    if len(known) < FEWEST:
        raise ValueError(
            f"{where}: got {len(known)} rows with a label and a file; expected at least {FEWEST}, and better hundreds"
        )
    check_rows(known, task, where)
    splits = split_of(known, task, held_out)
    train, test = splits["train"], splits["test"] or splits["validation"]
    if not train or not test:
        raise ValueError(
            f"{where}: the field 'split' leaves {len(train)} rows to train and {len(test)} to test on; expected some "
            "of both (train, validation, test)"
        )
    modality = {name: kind for sample in known for name, kind in sample.modality.items()}
    modality = {
        name: kind for name, kind in modality.items() if any(name in sample.columns for sample in train)
    }
    columns = ", ".join(f"{name} ({kind})" for name, kind in modality.items())
    about = f"{where}: columns {columns}; {'; '.join(found.about)}{repeated(train, test)}"
    return Labelled(found.tasks, modality, train, test, about)


def paired(images: Path, texts: Path) -> list[Sample]:
    """Pictures of one folder with the texts of another that are called as they are, `cats/1.jpg` and `cats/1.txt`.

    A text may also lie in no sub-folder, `1.txt`, when no two pictures have that name.
    """
    for folder in (images, texts):
        if not folder.is_dir():
            raise ValueError(
                f"{folder}: expected a folder; for a table give --source TABLE.csv with a column of the files' names"
            )
    words = {PurePosixPath(sample.id).with_suffix(""): sample for sample in read(texts)}
    pictures = [(PurePosixPath(sample.id).with_suffix(""), sample) for sample in read(images)]
    names = Counter(stem.name for stem, _ in pictures)
    joined, matched = [], 0
    for stem, sample in pictures:
        bare = PurePosixPath(stem.name)
        text = words.get(stem) or (words.get(bare) if names[stem.name] == 1 else None)
        if text is not None:
            matched += 1
            sample = Sample(
                sample.id,
                {**text.columns, **sample.columns},
                {**text.modality, **sample.modality},
                text.meanings,
                {**text.fields, **sample.fields},
            )
        joined.append(sample)
    if not matched:
        raise ValueError(
            f"no text of {texts} is called as a picture of {images}: got {next(iter(words), 'none')} and "
            f"{pictures[0][0] if pictures else 'none'}; expected x.jpg and x.txt"
        )
    return joined


def with_label(sample: Sample, label: str | None) -> Sample:
    """Its label as a field, also where the reader took that column for words."""
    if label is None or label not in sample.modality:
        return sample
    cell = sample.columns.get(label)
    return replace(
        sample,
        columns={name: media for name, media in sample.columns.items() if name != label},
        modality={name: kind for name, kind in sample.modality.items() if name != label},
        fields={**sample.fields, label: cell if isinstance(cell, str) else None},
    )


def choices(samples: Sequence[Sample]) -> str:
    """What a user may type instead: the columns whose values come back, and how many there are."""
    said = []
    for name in dict.fromkeys(name for sample in samples for name in sample.fields):
        values = [str(sample.fields[name]) for sample in samples if sample.fields.get(name) is not None]
        kinds = len(set(values))
        said.append(f"{name} ({kinds} different values in {len(values)} rows)")
    if not said:
        return "Sort the files into a sub-folder a label, or give a table with a column of labels"
    return f"There are: {', '.join(said)}. Choose with --label NAME"


def check_rows(samples: Sequence[Sample], task: Task, where: str) -> None:
    """Raises ValueError for labels of one row, which cannot be both trained and tested on."""
    if not isinstance(task, OneOf):
        return
    counts = Counter(str(sample.fields[task.field]) for sample in samples)
    if single := sorted(name for name, count in counts.items() if count == 1):
        shown = ", ".join(single[:SHOWN]) + (
            f" and {len(single) - SHOWN} more" if len(single) > SHOWN else ""
        )
        raise ValueError(
            f"{where}: {len(single)} of {len(counts)} labels have a single row, which cannot be trained and tested on: "
            f"{shown}. Bring a second row of each, join them into one label such as 'other', or take them out"
        )


def repeated(train: Sequence[Sample], test: Sequence[Sample]) -> str:
    """A warning for the model card: texts that are tested on and were trained on."""
    seen = {text for sample in train for text in sample.columns.values() if isinstance(text, str)}
    again = sum(any(isinstance(t, str) and t in seen for t in sample.columns.values()) for sample in test)
    return f"; {again} of the tested rows have a text that was trained on" if again else ""


def decoded(data: Labelled, encoders: Mapping[str, Any], quarantine: Quarantine, progress: bool) -> Labelled:
    """All media decoded once and made as small as their encoders see them; what cannot be decoded is set aside.

    A picture takes 12 KB at 64 pixels, a second of sound 64 KB.
    """
    bar = tqdm(total=len(data.train) + len(data.test), desc="decoding", unit="", disable=not progress)
    with bar:
        train, test = (
            [_decoded(sample, encoders, quarantine, bar) for sample in samples]
            for samples in (data.train, data.test)
        )
    quarantine.check()
    return replace(data, train=train, test=test)


def _decoded(sample: Sample, encoders: Mapping[str, Any], quarantine: Quarantine, bar: tqdm) -> Sample:
    columns: dict[str, Any] = {}
    for name, media in sample.columns.items():
        if name not in encoders:
            continue
        if isinstance(media, Source):
            try:
                media = media.decode(rate=RATE) if media.modality == "audio" else media.decode()
            except MediaError as error:
                quarantine.add(sample.id, name, error)
                continue
            quarantine.passed()
        columns[name] = _small(media, encoders[name])
    bar.update()
    return replace(sample, columns=columns)


def _small(media: Any, encoder: Any) -> Any:
    if isinstance(media, Video):
        assert isinstance(encoder, FrameEncoder)
        return Video(np.stack([_small(frame, encoder.image) for frame in media.frames]), media.times)
    if isinstance(media, Audio):
        return Audio(
            media.samples[: round(encoder.seconds * media.rate) + 1], media.rate
        )  # one more: cut, and said
    return letterbox(media, encoder.size, encoder.ground) if isinstance(media, np.ndarray) else media


def with_any(data: Labelled, there: Callable[[Sample], bool]) -> Labelled:
    """Without the records of which nothing is left. Raises ValueError where none is."""
    train, test = ([sample for sample in samples if there(sample)] for samples in (data.train, data.test))
    if not train or not test:
        raise ValueError(
            f"{data.about}: of the files that can be decoded {len(train)} are to train and {len(test)} to test on"
        )
    return replace(data, train=train, test=test)
