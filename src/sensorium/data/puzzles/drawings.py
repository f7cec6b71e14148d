"""Which drawings a split may show: the artists, the things, and the one store of decoded drawings.

split -> artists, things; drawings
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sensorium.data import bundled
from sensorium.data.puzzles.definition import VALIDATION_FOLD
from sensorium.data.scenes.composing import layout
from sensorium.data.scenes.drawing import Drawings
from sensorium.data.scenes.scene import GROUNDS, Placed, Scene
from sensorium.data.scenes.vocabulary import Thing, drawn, vocabulary

STREAMS = {"train": "train", "validation": "new_scenes", "test": "unseen_artist"}
"""Of `Scenes`, for puzzles about scenes."""


@lru_cache(maxsize=1)
def drawings() -> Drawings:
    """Shared by all puzzles of this process."""
    return Drawings()


def artists_of(split: str) -> tuple[str, ...]:
    """Four for training and validation, the unseen one for the test."""
    return (bundled.UNSEEN_ARTIST,) if split == "test" else bundled.TRAIN_ARTISTS


@lru_cache(maxsize=4)
def things_of(split: str) -> tuple[Thing, ...]:
    """The things of scenes: one fold of them for validation, the others for training, and all with the 30 unseen ones
    for the test, where the artist is new anyway."""
    if split == "test":
        return vocabulary() + vocabulary(unseen=True)
    folds = {sample.fields["thing"]: sample.fields["fold"] for sample in drawn()}
    validates = split == "validation"
    return tuple(t for t in vocabulary() if (folds[t.code] == VALIDATION_FOLD) == validates)


def placed(
    draw: random.Random,
    id: str,
    things: Sequence[Thing],
    artist: str,
    sides: tuple[float, float],
    size: int,
) -> Scene:
    """Things of one artist on a ground of a random colour, none over another.

    sides: least and most of the longer side of a drawing, as shares of the picture's side of `size` pixels
    """
    boxes = None
    while boxes is None:
        lengths = [round(draw.uniform(*sides) * size) for _ in things]
        sizes = [drawings().fitting(thing.code, artist, side) for thing, side in zip(things, lengths)]
        boxes = layout(draw, sizes, size)
    shown = tuple(Placed(thing, artist, box) for thing, box in zip(things, boxes))
    return Scene(id, size, draw.choice(list(GROUNDS)), shown)


def picture(scene: Scene) -> np.ndarray:
    """uint8[size, size, 3]."""
    return drawings().picture(scene)
