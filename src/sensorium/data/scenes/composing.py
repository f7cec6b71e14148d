"""`Scenes`: an endless, reproducible stream of composed scenes for training, and of others for each test.

(split, seed, i) -> Scene
"""

from __future__ import annotations

import random

import numpy as np

from sensorium.data import bundled
from sensorium.data.scenes.drawing import Drawings
from sensorium.data.scenes.questions import SINGLE, Question, ask
from sensorium.data.scenes.scene import GROUNDS, Box, Placed, Scene
from sensorium.data.scenes.vocabulary import CLASSES, SEEN, Thing, vocabulary

SPLITS = ("train", "new_scenes", "unseen_artist", "unseen_things", "unseen_combinations")

# How often things repeat, by the number of things: (weight, copies of each different thing). The weights give
# `how_many_x` enough scenes with two and three of a thing.
PATTERNS: dict[int, list[tuple[int, tuple[int, ...]]]] = {
    1: [(1, (1,))],
    2: [(70, (1, 1)), (30, (2,))],
    3: [(50, (1, 1, 1)), (25, (2, 1)), (25, (3,))],
    4: [(45, (1, 1, 1, 1)), (15, (2, 1, 1)), (10, (2, 2)), (30, (3, 1))],
}
SIDES = (55 / 224, 110 / 224)  # of the longer side of a drawing, as shares of the picture's side
CROWDED = 90 / 224  # the most when four things share the picture
SMALL, LARGE = (55 / 224, 72 / 224), (90 / 224, 110 / 224)  # where one is clearly the biggest
STANDS_OUT = 0.6  # share of scenes of several things in which one is made clearly the biggest


class Scenes:
    """Composed scenes of one split.

    split: "train"                trained artists, trained things, no held-out pair
           "new_scenes"           the same, other scenes
           "unseen_artist"        the same things drawn by an artist whom training never shows
           "unseen_things"        trained artists, 30 things that training never shows or names
           "unseen_combinations"  trained artists and things, only pairs that training never shows together
    seed:   another stream of the same split
    size:   width and height in pixels
    things: the vocabulary of the splits with trained things, 150 at most

    `scene(i)` depends on nothing but these and i, for any i >= 0: train on as many as you like; streams of two
    splits, or of two seeds, never repeat each other's draws.
    Raises ValueError for an unknown split or a vocabulary that is too large or too small.
    """

    def __init__(
        self,
        split: str = "train",
        seed: int = 0,
        size: int = 224,
        things: int = len(SEEN),
        drawings: Drawings | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split of scenes: got {split!r}; expected one of {', '.join(SPLITS)}")
        if not 4 * CLASSES <= things <= len(SEEN):
            raise ValueError(f"things of scenes: got {things}; expected {4 * CLASSES} to {len(SEEN)}")
        if size < 64:
            raise ValueError(f"size of scenes: got {size}; expected at least 64 pixels")
        self.split, self.seed, self.size = split, seed, size
        unseen = split == "unseen_things"
        self.things = vocabulary(unseen=True) if unseen else vocabulary(things=things)
        self.artists = (bundled.UNSEEN_ARTIST,) if split == "unseen_artist" else bundled.TRAIN_ARTISTS
        self.drawings = drawings or Drawings()

    def scene(self, i: int) -> Scene:
        """The i-th scene."""
        id = f"{self.split}/{self.seed}/{i}"
        draw = random.Random(f"scene/{len(self.things)}/{id}")
        least = 2 if self.split == "unseen_combinations" else 1  # different things
        count = draw.randint(least, 4)
        weights, patterns = zip(*(pair for pair in PATTERNS[count] if len(pair[1]) >= least))
        copies = draw.choices(patterns, weights)[0]
        things = self._together(draw, len(copies))
        shown = [thing for thing, many in zip(things, copies) for _ in range(many)]
        draw.shuffle(shown)
        artist = draw.choice(self.artists)
        ground = draw.choice(list(GROUNDS))
        boxes = None
        while boxes is None:
            sides = self._sides(draw, count)
            sizes = [self.drawings.fitting(thing.code, artist, side) for thing, side in zip(shown, sides)]
            boxes = layout(draw, sizes, self.size)
        placed = tuple(Placed(thing, artist, box) for thing, box in zip(shown, boxes))
        return Scene(id, self.size, ground, placed)

    def picture(self, scene: Scene) -> np.ndarray:
        """uint8[size, size, 3]."""
        return self.drawings.picture(scene)

    def masks(self, scene: Scene) -> np.ndarray:
        """bool[N, size, size], one for each of `scene.things`."""
        return self.drawings.masks(scene)

    def questions(self, scene: Scene, language: str = "en") -> list[Question]:
        """What can be asked about the scene with one right answer (questions.py); the same every time."""
        # Combined scenes always hold two different things, so more of them than elsewhere could be counted as one.
        single = 0.5 if self.split == "unseen_combinations" else SINGLE
        return ask(scene, self.absent(scene), language, single)

    def absent(self, scene: Scene) -> list[Thing]:
        """Things that the scene lacks but that could stand in it by the rules of the split."""
        shown = [placed.thing for placed in scene.things]
        codes, classes = {thing.code for thing in shown}, {thing.class_ for thing in shown}
        return [thing for thing in self.things if self._may_join(thing, codes, classes)]

    def _together(self, draw: random.Random, many: int) -> list[Thing]:
        """Different things that may stand together in this split."""
        chosen: list[Thing] = []
        while len(chosen) < many:
            thing = draw.choice(self.things)
            codes, classes = {one.code for one in chosen}, {one.class_ for one in chosen}
            if self._may_join(thing, codes, classes):
                chosen.append(thing)
        return chosen

    def _may_join(self, thing: Thing, codes: set[str], classes: set[int]) -> bool:
        """True when a thing may stand with others, other than it, of these codes and classes."""
        if thing.code in codes:
            return False
        if self.split == "unseen_things":
            return True
        if self.split == "unseen_combinations":  # `held_out` from each of them
            return not codes or classes == {thing.class_}
        return thing.class_ not in classes

    def _sides(self, draw: random.Random, count: int) -> list[int]:
        """Longer sides in pixels."""
        if count > 1 and draw.random() < STANDS_OUT:
            shares = [draw.uniform(*SMALL) for _ in range(count)]
            shares[draw.randrange(count)] = draw.uniform(*LARGE)
        else:
            most = CROWDED if count == 4 else SIDES[1]
            shares = [draw.uniform(SIDES[0], most) for _ in range(count)]
        return [round(share * self.size) for share in shares]


def layout(draw: random.Random, sizes: list[tuple[int, int]], size: int, tries: int = 60) -> list[Box] | None:
    """Boxes that do not overlap, for drawings of these (width, height); None when chance found none."""
    boxes: list[Box] = []
    for _ in range(tries):
        width, height = sizes[len(boxes)]
        x, y = draw.randint(0, size - width), draw.randint(0, size - height)
        box = (x, y, x + width, y + height)
        if all(apart(box, other) for other in boxes):
            boxes.append(box)
            if len(boxes) == len(sizes):
                return boxes
    return None


def apart(one: Box, other: Box) -> bool:
    """True when two boxes share no pixel."""
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
