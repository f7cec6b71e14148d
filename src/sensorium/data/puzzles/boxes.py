"""Where is the thing that is named?

A picture of 2, 3 or 4 different things and the name of one of them, each as likely. One who looks only can
box one thing of k by chance: boxes do not overlap, and the IoUs of any box with k disjoint ones sum to 1 at
most (the shared area over the joint one is at most the share of the box that the thing covers), so 1/k is
the most. One who reads only knows how tall and wide such a thing is drawn, and boxes the middle.

image   a scene of different things by one artist
text    the name of one of them, or a request for it

train, validation   drawings by four artists; validation has other things
test                the unseen artist; a sixth of the things are new in any drawing; other requests
"""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction

from sensorium.data.puzzles.definition import Puzzle, balanced
from sensorium.data.puzzles.drawings import artists_of, drawings, picture, placed, things_of
from sensorium.data.sample import Sample
from sensorium.data.scenes.scene import Placed
from sensorium.tasks import Box

COUNTS = (2, 3, 4)
SIZE = 160
SIDES = (0.25, 0.40)  # of the longer side of a thing, as shares of the picture's
REQUESTS = {
    "train": ("{thing}", "the {thing}", "Where is the {thing}?", "Find the {thing}."),
    "validation": ("Show me the {thing}.", "I am looking for the {thing}."),
    "test": ("Point at the {thing}.", "Which part shows the {thing}?"),
}
BLIND = 0.14  # mean IoU of the best box for each shape of thing, on 4,500 rows; a test holds it


def rows(split: str, seed: int) -> Callable[[int], Sample]:
    def row(i: int) -> Sample:
        id = f"boxes/{split}/{seed}/{i}"
        draw = random.Random(id)
        many = balanced(COUNTS, f"boxes/{split}/{seed}", i)
        artist = draw.choice(artists_of(split))
        scene = placed(draw, id, draw.sample(things_of(split), many), artist, SIDES, SIZE)
        asked = draw.choice(scene.things)
        width, height = drawings().fitting(asked.thing.code, artist, SIZE)
        return Sample(
            id=id,
            columns={
                "image": picture(scene),
                "text": draw.choice(REQUESTS[split]).format(thing=asked.thing.en),
            },
            modality=PUZZLE.modality,
            fields={
                "box": shares(asked),
                "hidden": {
                    "image": tuple(shares(one) for one in scene.things),
                    "text": (width / SIZE, height / SIZE),
                },
                "thing": asked.thing.en,
                "artist": artist,
            },
        )

    return row


def shares(thing: Placed) -> tuple[float, float, float, float]:
    """(cx, cy, w, h) of its box, in shares of the picture."""
    x0, y0, x1, y1 = thing.box
    return (x0 + x1) / 2 / SIZE, (y0 + y1) / 2 / SIZE, (x1 - x0) / SIZE, (y1 - y0) / SIZE


PUZZLE = Puzzle(
    name="boxes",
    tasks=(Box("box"),),
    modality={"image": "image", "text": "text"},
    alone={"image": float(sum(Fraction(1, many) for many in COUNTS) / len(COUNTS)), "text": BLIND},
    metric="iou",
    about="The box of a thing, named in a text, among two to four in a picture.",
    rows=rows,
)
