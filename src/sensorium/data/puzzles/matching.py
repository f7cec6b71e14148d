"""Does the caption fit the picture?

Two things of one group (two animals, two foods …), one of them drawn, one of them named, each by a coin:
four combinations, two of which fit. Every thing is drawn, and named, as often beside "yes" as beside "no":
picture or caption alone leave a coin.

image   a drawing of a thing
text    a caption that names the same thing, or another one of its group

train, validation   things drawn by four artists; validation has other things
test                the unseen artist; a sixth of the things are new in any drawing; other captions
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from itertools import product

from sensorium.data.puzzles.definition import Puzzle, balanced
from sensorium.data.puzzles.drawings import artists_of, things_of
from sensorium.data.sample import Sample
from sensorium.data.scenes.vocabulary import Thing, drawn
from sensorium.media import Media, Source
from sensorium.tasks import OneOf

CELLS = tuple(product((0, 1), repeat=2))  # which of the two is drawn, and which is named
CAPTIONS = {
    "train": ("{a_thing}", "a drawing of {a_thing}", "This is {a_thing}.", "Look at the {thing}!"),
    "validation": ("a small picture of {a_thing}", "Here we see {a_thing}."),
    "test": ("an icon that shows {a_thing}", "Somebody drew {a_thing}."),
}


def rows(split: str, seed: int) -> Callable[[int], Sample]:
    groups = _groups(split)
    # Each group as often as it has things.
    names = [name for name, things in groups.items() for _ in things]

    def row(i: int) -> Sample:
        id = f"matching/{split}/{seed}/{i}"
        # Four rows in a row are about one pair, in the four combinations.
        draw = random.Random(f"matching/{split}/{seed}/pair/{i // len(CELLS)}")
        group = draw.choice(names)
        pair = draw.sample(groups[group], 2)
        draw = random.Random(id)
        shown, named = (pair[place] for place in balanced(CELLS, f"matching/{split}/{seed}", i))
        artist = draw.choice(artists_of(split))
        caption = draw.choice(CAPTIONS[split]).format(a_thing=named.with_article, thing=named.en)
        return Sample(
            id=id,
            columns={"image": _drawing(shown.code, artist), "text": caption},
            modality=PUZZLE.modality,
            fields={
                "fits": "yes" if shown == named else "no",
                "hidden": {"image": shown.en, "text": named.en},
                "group": group,
                "artist": artist,
            },
        )

    return row


@lru_cache(maxsize=4)
def _groups(split: str) -> dict[str, list[Thing]]:
    """Things by the group of their emoji; groups of one thing are left out."""
    of = {sample.fields["thing"]: sample.fields["group"] for sample in drawn()}
    found: dict[str, list[Thing]] = {}
    for thing in things_of(split):
        found.setdefault(of[thing.code], []).append(thing)
    return {name: things for name, things in found.items() if len(things) > 1}


@lru_cache(maxsize=1)
def _drawings() -> dict[tuple[str, str], Media | Source]:
    return {(s.fields["thing"], s.fields["artist"]): s.columns["image"] for s in drawn()}  # type: ignore[misc]


def _drawing(code: str, artist: str) -> Media | Source:
    return _drawings()[code, artist]


PUZZLE = Puzzle(
    name="matching",
    tasks=(OneOf("fits", ["no", "yes"]),),
    modality={"image": "image", "text": "text"},
    alone={"image": 0.5, "text": 0.5},
    metric="accuracy",
    about="Whether a caption names what a picture shows, or another thing of its group.",
    rows=rows,
)
