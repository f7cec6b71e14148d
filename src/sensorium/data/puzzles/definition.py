"""What a puzzle is, how its rows are drawn in balance, and rows that lack some of their columns.

(split, n, seed) -> [Sample]
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

from sensorium.data.sample import Sample
from sensorium.tasks import Task

SPLITS = ("train", "validation", "test")
SIZES = {"train": 2000, "validation": 400, "test": 800}  # rows when none are asked for
VALIDATION_FOLD = 3  # of the things that the bundled data sets give for training

Row = TypeVar("Row")


@dataclass(frozen=True)
class Puzzle:
    """A data set of which no single column is enough.

    tasks:    what is asked; the first one is the main one
    modality: by column
    alone:    by column, the best score of the main task that is possible from this column alone, by the way the rows
              are drawn: of one who knows all that the column says, and the rule
    metric:   of the main task: "accuracy", "iou" or "mAP" (mean average precision over labels)
    about:    one sentence
    rows:     (split, seed) -> i -> the i-th sample

    Row i depends on the split, the seed and i alone, so fewer rows are the first ones of more. Fields of a sample:
    the answers of the tasks; "hidden", by column, what the column tells that matters.
    """

    name: str
    tasks: tuple[Task, ...]
    modality: Mapping[str, str]
    alone: Mapping[str, float]
    metric: str
    about: str
    rows: Callable[[str, int], Callable[[int], Sample]] = field(repr=False)

    def samples(self, split: str, n: int | None = None, seed: int = 0) -> list[Sample]:
        """The first n rows of a split, SIZES[split] by default.

        Raises ValueError for an unknown split or n below 1.
        """
        if split not in SPLITS:
            raise ValueError(f"split of {self.name}: got {split!r}; expected one of {', '.join(SPLITS)}")
        count = SIZES[split] if n is None else n
        if count < 1:
            raise ValueError(f"rows of {self.name}: got n={n}; expected 1 or more")
        row = self.rows(split, seed)
        return [row(i) for i in range(count)]


def balanced(kinds: Sequence[Row], stream: str, i: int) -> Row:
    """The i-th draw of an endless stream in which every len(kinds) draws hold each kind once, in random order."""
    block, place = divmod(i, len(kinds))
    return kinds[_order(len(kinds), f"{stream}/block/{block}")[place]]


def with_missing(samples: Iterable[Sample], share: float, seed: int = 0) -> list[Sample]:
    """The same samples, each column left out with probability `share`, but never the last one of a sample.

    What a sample loses depends on its id and the seed alone. Raises ValueError for a share outside of 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share of missing columns: got {share}; expected 0 to 1")
    return [_without_some(sample, share, seed) for sample in samples]


def _without_some(sample: Sample, share: float, seed: int) -> Sample:
    draw = random.Random(f"missing/{seed}/{sample.id}")
    names = list(sample.columns)
    draw.shuffle(names)
    kept = {name for name in names if draw.random() >= share} or set(names[:1])
    columns: dict[str, Any] = {name: media for name, media in sample.columns.items() if name in kept}
    return replace(sample, columns=columns)


@lru_cache(maxsize=1024)
def _order(count: int, stream: str) -> tuple[int, ...]:
    return tuple(random.Random(stream).sample(range(count), count))
