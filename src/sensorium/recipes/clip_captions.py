"""Captions of moving scenes, slot by slot: was the thing right, the way that it goes, the ground?

sentences, clips -> {"caption.accuracy", "caption.direction.accuracy", "caption.ground.accuracy", …: Measured}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from sensorium.data.scenes import GROUNDS, vocabulary
from sensorium.data.scenes.motion import DIRECTIONS
from sensorium.evaluation.generated import Measured

SLOTS = ("thing", "direction", "ground")
SENTENCE = re.compile(r"the (?P<thing>.+) moves (?P<direction>\w+) on an? (?P<ground>\w+) ground\W*", re.I)


def sentence(thing: str, direction: str, ground: str) -> str:
    """ "the owl moves left on a green ground"."""
    return f"the {thing} moves {direction} on a {ground} ground"


def every_sentence() -> list[str]:
    """All that can be said of a clip: 150 things, four directions, six grounds."""
    return [
        sentence(thing.en, way, ground) for thing, way, ground in product(vocabulary(), DIRECTIONS, GROUNDS)
    ]


@dataclass(frozen=True)
class CaptionSlots:
    """Scores sentences against the right ones; what is no such sentence is wrong in every slot."""

    right: Sequence[str]

    def __call__(self, said: Sequence[str]) -> dict[str, Measured]:
        pairs = [(_slots(one), _slots(other)) for one, other in zip(said, self.right, strict=True)]
        found = {
            f"caption.{slot}.accuracy": Measured(
                np.array([slot in one and one[slot] == other[slot] for one, other in pairs], float)
            )
            for slot in SLOTS
        }
        whole = np.array([bool(one) and one == other for one, other in pairs], float)
        return {"caption.accuracy": Measured(whole)} | found


def _slots(text: str) -> dict[str, str]:
    matched = SENTENCE.fullmatch(text.strip())
    return {slot: said.lower() for slot, said in matched.groupdict().items()} if matched else {}
