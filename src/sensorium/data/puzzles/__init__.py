"""Data sets of which no single modality is enough, made of the bundled pictures, sounds and voices.

(split, n, seed) -> Puzzle.samples -> [Sample], whose fields hold the answers of Puzzle.tasks

definition.py     what a puzzle is; rows that lack columns
sentiment.py      sentence, voice and face: what most of them say
prosody.py        recordings made lively or flat
actions.py        video and sound: which way something moves, and to what
matching.py       picture and caption: do they fit?
scene_answers.py  scene and question: one of a few answers
boxes.py          scene and name: where it is
things.py         scene and note: which of twelve things are there
drawings.py       which drawings a split may show
card.py           the picture of docs/puzzles.md
"""

from sensorium.data.puzzles import actions, boxes, matching, scene_answers, sentiment, things
from sensorium.data.puzzles.definition import SIZES, SPLITS, Puzzle, with_missing

PUZZLES: dict[str, Puzzle] = {
    module.PUZZLE.name: module.PUZZLE
    for module in (sentiment, actions, matching, scene_answers, boxes, things)
}


def puzzle(name: str) -> Puzzle:
    """The puzzle of this name. Raises ValueError for an unknown one."""
    if name not in PUZZLES:
        raise ValueError(f"puzzle: got {name!r}; expected one of {', '.join(PUZZLES)}")
    return PUZZLES[name]


__all__ = ["PUZZLES", "SIZES", "SPLITS", "Puzzle", "puzzle", "with_missing"]
