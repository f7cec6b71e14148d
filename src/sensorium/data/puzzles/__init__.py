"""Data sets of which no single modality is enough, made of the bundled pictures, sounds and voices.

(split, n, seed) -> Puzzle.samples -> [Sample], whose fields hold the answers of Puzzle.tasks

definition.py     what a puzzle is; rows that lack columns
sentiment.py      sentence, voice and face: what most of them say
prosody.py        recordings made lively or flat
"""

from sensorium.data.puzzles import sentiment
from sensorium.data.puzzles.definition import SIZES, SPLITS, Puzzle, with_missing

PUZZLES: dict[str, Puzzle] = {puzzle.name: puzzle for puzzle in (sentiment.PUZZLE,)}


def puzzle(name: str) -> Puzzle:
    """The puzzle of this name. Raises ValueError for an unknown one."""
    if name not in PUZZLES:
        raise ValueError(f"puzzle: got {name!r}; expected one of {', '.join(PUZZLES)}")
    return PUZZLES[name]


__all__ = ["PUZZLES", "SIZES", "SPLITS", "Puzzle", "puzzle", "with_missing"]
