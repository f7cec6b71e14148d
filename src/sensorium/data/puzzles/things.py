"""Which of twelve things are there, in the picture or in what somebody says of the rest?

Two of the twelve are drawn, two others are named in a note, and all four are to be found. Which ones the
note names, the picture does not tell (each of the other ten as likely), nor the other way round.

image   two of the twelve, and two other things that nobody asks for, by one artist
text    a note that names two more of the twelve

train, validation   drawings by four artists, other scenes and notes
test                the unseen artist, other notes
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import lru_cache

from sensorium.data.puzzles.definition import Puzzle
from sensorium.data.puzzles.drawings import artists_of, picture, placed, things_of
from sensorium.data.sample import Sample
from sensorium.data.scenes.vocabulary import Thing, vocabulary
from sensorium.tasks import AnyOf

THINGS = (
    "dog",
    "cat",
    "owl",
    "penguin",
    "turtle",
    "banana",
    "pizza",
    "rose",
    "bus",
    "airplane",
    "guitar",
    "umbrella",
)
# Not drawn beside them: things that some artist draws much like one of the twelve.
ALIKE = (
    *("fox", "wolf", "tiger", "leopard", "lion", "hamster", "turkey", "tulip", "bouquet", "seedling"),
    *("ambulance", "taxi", "monorail", "minibus", "locomotive", "helicopter", "rocket", "violin"),
)
SHOWN, NAMED, OTHERS = 2, 2, 2
SIZE = 160
SIDES = (0.25, 0.40)  # of the longer side of a thing, as shares of the picture's
NOTES = {
    "train": (
        "{a_x} and {a_y} are outside.",
        "Behind me there is {a_x}, and also {a_y}.",
        "I can hear {a_x} but not see it; the same goes for {a_y}.",
        "Do not forget the {x} and the {y}.",
        "{a_x}, {a_y}",
    ),
    "validation": ("In the other room: {a_x} and {a_y}.", "The {x} stands next to the {y}."),
    "test": ("We left {a_x} at home, together with {a_y}.", "Also present, not shown: the {x}, the {y}."),
}


def rows(split: str, seed: int) -> Callable[[int], Sample]:
    others = [thing for thing in things_of(split) if thing.en not in THINGS + ALIKE]

    def row(i: int) -> Sample:
        id = f"things/{split}/{seed}/{i}"
        draw = random.Random(id)
        there = draw.sample(_asked_for(), SHOWN + NAMED)
        shown, named = there[:SHOWN], there[SHOWN:]
        beside = draw.sample(others, OTHERS)
        scene = placed(draw, id, [*shown, *beside], draw.choice(artists_of(split)), SIDES, SIZE)
        return Sample(
            id=id,
            columns={"image": picture(scene), "text": _note(draw, split, named)},
            modality=PUZZLE.modality,
            fields={
                "things": [name for name in THINGS if name in {thing.en for thing in there}],
                "hidden": {
                    "image": tuple(sorted(thing.en for thing in shown)),
                    "text": tuple(sorted(thing.en for thing in named)),
                },
            },
        )

    return row


def _note(draw: random.Random, split: str, named: list[Thing]) -> str:
    one, other = named
    note = draw.choice(NOTES[split]).format(
        x=one.en, y=other.en, a_x=one.with_article, a_y=other.with_article
    )
    return note[0].upper() + note[1:]


@lru_cache(maxsize=1)
def _asked_for() -> tuple[Thing, ...]:
    known = {thing.en: thing for thing in vocabulary()}
    return tuple(known[name] for name in THINGS)


def _half(of: int, known: int, rest: int) -> float:
    """Mean average precision of one who knows `known` of a row's positives, and ranks all else by chance.

    of: labels; rest: positives that he cannot tell from the other labels

    Of one label: a share p = known / (known + rest) of its positives comes first, all right. Then, r of the way
    through the others, (known + r * rest) of (known + r * (of - known)) are right; the mean of that over r in 0 … 1 is
    rest / (of - known) + (known - rest * known / (of - known)) * ln(of / known) / (of - known).
    """
    others = of - known
    mean = rest / others + (known - rest * known / others) * math.log(of / known) / others
    return (known + rest * mean) / (known + rest)


PUZZLE = Puzzle(
    name="things",
    tasks=(AnyOf("things", THINGS),),
    modality={"image": "image", "text": "text"},
    alone={"image": _half(len(THINGS), SHOWN, NAMED), "text": _half(len(THINGS), NAMED, SHOWN)},
    metric="mAP",
    about="Which of twelve things a picture shows or a note names.",
    rows=rows,
)
