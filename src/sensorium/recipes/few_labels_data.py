"""Rows of which few have a label: the bundled drawings by group, labels taken away, labels guessed from words.

bundled emoji -> FusionData; samples, labels to keep -> samples; words -> labels
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F

from sensorium.data import bundled
from sensorium.data.sample import Sample
from sensorium.recipes.fusion_data import FusionData
from sensorium.tasks import OneOf, Task

TEST_FOLDS = (0, 8, 9)  # of things; 0 is the split of unseen things


@lru_cache(maxsize=1)
def emoji_groups() -> FusionData:
    """Which of eight groups a thing belongs to, from a drawing and its English name.

    Trained on four artists' drawings of the things of seven folds, tested on the unseen artist's drawings of the
    things of the other three: neither the artist nor the thing nor its name was seen.
    """

    @lru_cache(maxsize=1)
    def train() -> list[Sample]:
        drawings = bundled.emoji("train", artists=bundled.TRAIN_ARTISTS)
        return [sample for sample in drawings if sample.fields["fold"] not in TEST_FOLDS]

    @lru_cache(maxsize=1)
    def test() -> list[Sample]:
        drawings = bundled.emoji(artists=[bundled.UNSEEN_ARTIST])
        return [sample for sample in drawings if sample.fields["fold"] in TEST_FOLDS]

    splits: dict[str, Callable[[], list[Sample]]] = {"train": train, "validation": list, "test": test}
    groups = sorted({sample.fields["group"] for sample in train()})
    return FusionData(
        "emoji_groups",
        (OneOf("group", groups),),
        {"image": "image", "text": "text"},
        splits,
        f"the group of a drawn thing, by its picture and name: {len(train())} drawings by "
        f"{len(bundled.TRAIN_ARTISTS)} artists, tested on {len(test())} of other things by another artist "
        "(datasets/emoji)",
    )


def unlabelled(sample: Sample, task: Task) -> Sample:
    """The sample without its answer."""
    return replace(sample, fields={**sample.fields, task.field: None})


def labels_from_words(vectors: torch.Tensor, names: torch.Tensor) -> list[int]:
    """float[N, D] of what rows say and float[C, D] of the labels' names -> for each row, the nearest name's place.

    Both are centred first: sentence vectors share a large mean, which says nothing about either.
    """
    found, named = vectors - vectors.mean(0), names - names.mean(0)
    return (F.normalize(found, dim=-1) @ F.normalize(named, dim=-1).T).argmax(-1).tolist()


def labelled_by_words(
    samples: Sequence[Sample], task: OneOf, column: str, encoder: Any, vectors: torch.Tensor
) -> tuple[list[Sample], float]:
    """The rows that have words, with the label whose name is nearest to them in the place of their own.

    column:  of words; encoder: of sentences; vectors: float[N, D], its vectors of the rows that have it, in order
    Returns the rows and the share of the labels that is right, of those that are known: how noisy they are.
    """
    names = encoder.encode([name.replace("-", " ").replace("_", " ") for name in task.labels]).pooled
    worded = [sample for sample in samples if column in sample.columns]
    guesses = [task.labels[place] for place in labels_from_words(vectors.float(), names.float())]
    right = Counter(
        guess == str(sample.fields[task.field])
        for sample, guess in zip(worded, guesses, strict=True)
        if sample.fields.get(task.field) is not None
    )
    found = [
        replace(sample, fields={**sample.fields, task.field: guess})
        for sample, guess in zip(worded, guesses, strict=True)
    ]
    return found, right[True] / max(1, right.total())
