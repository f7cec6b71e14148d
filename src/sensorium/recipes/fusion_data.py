"""A task's records, its answers and what frozen encoders make of its media: what fusions train and test on.

a puzzle's name | a user's folder or table -> FusionData -> collated batches, whose media are encoded once
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sensorium.data.batch import Collator
from sensorium.data.feature_cache import CachedFeatures, FeatureCache
from sensorium.data.puzzles import PUZZLES
from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Batch, Sample
from sensorium.evaluation.predictions import scores
from sensorium.facade.matching import records_of
from sensorium.recipes.labels import labels_of
from sensorium.systems.fusion_network import USUAL
from sensorium.tasks import AnyOf, Number, OneOf, Task
from sensorium.weights import cache_folder

Split = Literal["train", "validation", "test"]
What = Literal["pooled", "tokens"]
FEWEST = 20  # records below which neither training nor a test set means anything
TEST_ROWS = 256  # of a batch that is scored
SPLIT_OF = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class FusionData:
    """Records in splits, and what is asked of them.

    name:     of the puzzle, or the path that was read
    tasks:    what is asked; the first is the main one
    modality: by column
    splits:   by "train", "validation" and "test", records; what has no answer stays among them. A function gives
              those of a puzzle, which are drawn when they are first asked for
    about:    where they come from and what was guessed, for the model card
    quarantine: where media that cannot be decoded go; None: it is an error

    Features of frozen encoders are held as long as this object is.
    """

    name: str
    tasks: tuple[Task, ...]
    modality: Mapping[str, str]
    splits: Mapping[str, Callable[[], list[Sample]]] = field(repr=False)
    about: str = ""
    quarantine: Quarantine | None = None
    _held: dict[Hashable, CachedFeatures] = field(default_factory=dict, repr=False)

    def samples(self, split: Split) -> list[Sample]:
        return self.splits[split]()

    def encoders(self, columns: Sequence[str] = ()) -> dict[str, str]:
        """The usual encoder of these columns, by default of all. Raises ValueError for one that there is none for."""
        if unknown := [column for column in columns if column not in self.modality]:
            raise ValueError(f"columns {unknown}: {self.name} has {', '.join(self.modality)}")
        return {column: USUAL[self.modality[column]] for column in columns or self.modality}

    def collator(
        self,
        encoders: Mapping[str, Any],
        split: Split,
        samples: Sequence[Sample] | None = None,
        what: What = "pooled",
        cache: Path | None = None,
        progress: bool = False,
    ) -> Collator:
        """What makes batches of a split's records (or of `samples`, some of them, in their order).

        encoders: by column; frozen ones are read from the feature cache, which lacks nothing afterwards
        what:     of their Features is kept: "tokens" costs far more of the disk
        cache:    folder of the feature cache
        """
        cached = {
            column: self._features(encoder, column, split, what, cache, progress)
            for column, encoder in encoders.items()
            if not any(parameter.requires_grad for parameter in encoder.parameters())
            and any(column in sample.columns for sample in self.samples(split))
        }
        rows = self.samples(split) if samples is None else samples
        return Collator(encoders, cached=cached, quarantine=self.quarantine, samples=rows)

    def _features(
        self, encoder: Any, column: str, split: Split, what: What, cache: Path | None, progress: bool
    ) -> CachedFeatures:
        key = (encoder.identity, encoder.preparation, column, split, what, cache)
        if key not in self._held:
            self._held[key] = FeatureCache(cache or cache_folder() / "features").of_samples(
                encoder,
                self.samples(split),
                column,
                what,
                dtype="float16" if what == "tokens" else "float32",  # a hundred tokens a row: half the disk
                quarantine=self.quarantine,
                progress=progress,
            )
        return self._held[key]


def data_of(
    task: str,
    label: Sequence[str] = (),
    train: int | None = None,
    folder: Path = Path(),
    held_out: float = 0.2,
    columns: Sequence[str] = (),
    most: int | None = None,
) -> FusionData:
    """The records of a puzzle, or of a user's folder or table.

    label:    fields of the user's records to learn, each with its kind behind a colon where the guess is wrong
    train:    use at most so many rows for training
    folder:   where the quarantine is written
    held_out: share of the user's records that are tested on, when no field "split" says which
    columns:  those of the user's that the reader cannot guess, such as "review:text"
    most:     labels of a user's field with one of many, see `labels_of`

    Raises ValueError when there is neither, or when the data cannot be learned from.
    """
    if task in PUZZLES:
        if label or most is not None:
            raise ValueError(f"--label and --most are for your own data; what {task} asks is fixed")
        return _puzzle(task, train)
    if not Path(task).exists():
        raise ValueError(
            f"{task}: no puzzle and no file; the puzzles are {', '.join(PUZZLES)}. For your own data name a folder, "
            "a .jsonl, .csv or .parquet file, and its field with --label FIELD"
        )
    return _own(Path(task), label, train, folder, held_out, _declared(columns), most)


@lru_cache(maxsize=2)  # so that runs of one process that differ in the model draw and encode the rows once
def _puzzle(name: str, train: int | None) -> FusionData:
    puzzle = PUZZLES[name]
    drawn = {
        split: lru_cache(1)(partial(puzzle.samples, split, train if split == "train" else None))
        for split in ("train", "validation", "test")
    }
    return FusionData(name, puzzle.tasks, dict(puzzle.modality), drawn, f"the puzzle {name}: {puzzle.about}")


def _own(
    path: Path,
    label: Sequence[str],
    train: int | None,
    folder: Path,
    held_out: float,
    declared: Mapping[str, str],
    most: int | None,
) -> FusionData:
    found = labels_of(without_states(records_of(path, declared)), label, str(path), most)
    known = [
        sample
        for sample in found.samples
        if sample.columns and any(sample.fields.get(task.field) is not None for task in found.tasks)
    ]
    if len(known) < FEWEST:
        raise ValueError(
            f"{path}: got {len(known)} records with media and an answer in {', '.join(t.field for t in found.tasks)}; "
            f"expected at least {FEWEST}"
        )
    modality = {name: kind for sample in known for name, kind in sample.modality.items()}
    modality = {name: kind for name, kind in modality.items() if any(name in s.columns for s in known)}
    splits, said = answered_splits(split_of(known, found.tasks[0], held_out), found.tasks[0], held_out)
    if train is not None:
        splits["train"] = share_of(splits["train"], found.tasks[0], train / max(1, len(splits["train"])))
    if not splits["train"] or not splits["test"]:
        raise ValueError(
            f"{path}: the field 'split' leaves {len(splits['train'])} records to train and {len(splits['test'])} to "
            "test on; expected some of both (train, validation, test)"
        )
    columns = ", ".join(f"{name} ({kind})" for name, kind in modality.items())
    about = [
        f"{len(splits['train'])} records of {path} to train on, {len(splits['test'])} to test on",
        f"columns: {columns}",
        *found.about,
        *said,
    ]
    return FusionData(
        str(path),
        found.tasks,
        modality,
        {name: partial(list, rows) for name, rows in splits.items()},
        "\n".join(about),
        Quarantine(folder / "quarantine.jsonl"),
    )


def _declared(columns: Sequence[str]) -> dict[str, str]:
    """["review:text"] -> {"review": "text"}; names without a modality are guessed."""
    declared = {}
    for name, colon, modality in (column.partition(":") for column in columns):
        if colon and modality not in USUAL:
            raise ValueError(
                f"--columns {name}:{modality}: expected one of {', '.join(USUAL)} behind the colon"
            )
        if colon:
            declared[name] = modality
    return declared


def without_states(samples: Iterable[Sample]) -> list[Sample]:
    """Records with the columns that some usual encoder reads: states and conversations are left out."""
    return [
        replace(
            sample,
            columns={name: media for name, media in sample.columns.items() if sample.modality[name] in USUAL},
            modality={name: kind for name, kind in sample.modality.items() if kind in USUAL},
        )
        for sample in samples
    ]


def split_of(samples: Sequence[Sample], task: Task, held_out: float) -> dict[str, list[Sample]]:
    """By split: as the field "split" of all records says, else a share of every label for the test."""
    said = [SPLIT_OF.get(str(sample.fields.get("split", "")).lower()) for sample in samples]
    if all(said):
        return {
            split: [sample for sample, own in zip(samples, said) if own == split]
            for split in ("train", "validation", "test")
        }
    if not 0 < held_out < 1:
        raise ValueError(f"--held-out {held_out}; expected a share between 0 and 1, such as 0.2")
    test = {sample.id for sample in share_of(samples, task, held_out, seed=-1)}
    return {
        "train": [sample for sample in samples if sample.id not in test],
        "validation": [],
        "test": [sample for sample in samples if sample.id in test],
    }


def answered_splits(
    splits: dict[str, list[Sample]], task: Task, held_out: float
) -> tuple[dict[str, list[Sample]], list[str]]:
    """Splits whose test records have answers, and what was done for it.

    Benchmarks keep their test answers (VQA v2, Hateful Memes): the validation records are the test then, or where
    there are none either, a share of the training records.
    """
    if any(sample.fields.get(task.field) is not None for sample in splits["test"]):
        return splits, []
    if any(sample.fields.get(task.field) is not None for sample in splits["validation"]):
        said = "no test record has an answer, so the validation records are tested on"
        return {"train": splits["train"], "validation": [], "test": splits["validation"]}, [said]
    if not splits["train"]:
        return splits, []
    apart = [replace(sample, fields={**sample.fields, "split": None}) for sample in splits["train"]]
    said = f"no test record has an answer, so a share of the training records ({held_out:g}) is tested on"
    return split_of(apart, task, held_out), [said]


def share_of(samples: Sequence[Sample], task: Task, share: float, seed: int = 0) -> list[Sample]:
    """A share of the records, of each group of like answers (`groups_of`) alike but at least one, in their order.

    Which ones follows from their ids and the seed; a smaller share is part of a larger one.
    """
    if share >= 1:
        return list(samples)
    places: dict[Hashable, list[int]] = {}
    for place, group in enumerate(groups_of(samples, task)):
        places.setdefault(group, []).append(place)
    kept = []
    for rows in places.values():
        rows.sort(key=lambda place: order_of(seed, samples[place].id))
        kept += rows[: max(1, round(share * len(rows)))]
    return [samples[place] for place in sorted(kept)]


def groups_of(samples: Sequence[Sample], task: Task) -> list[Hashable]:
    """By record, which others have a like answer: its label, its rarest label, or the fifth its number lies in."""
    answers = [sample.fields.get(task.field) for sample in samples]
    if isinstance(task, OneOf):
        return [None if answer is None else str(answer) for answer in answers]
    if isinstance(task, AnyOf):
        counts: dict[str, int] = {}
        for label in (label for answer in answers for label in answer or ()):
            counts[label] = counts.get(label, 0) + 1
        return [min(answer, key=lambda one: (counts[one], one)) if answer else None for answer in answers]
    if isinstance(task, Number):
        known = [float(answer) for answer in answers if answer is not None]
        bounds = np.quantile(known, [0.2, 0.4, 0.6, 0.8]) if known else np.zeros(4)
        return [None if answer is None else int(np.searchsorted(bounds, float(answer))) for answer in answers]
    return [None] * len(answers)


def order_of(seed: int, id: str) -> bytes:
    """Records sorted by it stand in a random order that follows from their ids and the seed alone."""
    return hashlib.blake2b(f"{seed}/{id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def batches_of(collate: Collator, rows: int = TEST_ROWS) -> list[Batch]:
    """All records of a collator in order, so many at a time."""
    assert collate.samples is not None
    places = range(len(collate.samples))
    return [collate(places[start : start + rows]) for start in range(0, len(places), rows)]


def scores_of(model: Any, collate: Collator, seen: Sequence[Sample] = ()) -> dict[str, Any]:
    """The scores of a `FusionNetwork` in evaluation mode (`evaluation.predictions.scores`) on a collator's records.

    seen: training records, for the majority's answer
    """
    answers = {task.name: [sample.fields.get(task.field) for sample in seen] for task in model.tasks}
    return scores(model, batches_of(collate), model.tasks, seen=answers if seen else None)
