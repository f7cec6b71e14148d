"""Questions about a scene with one of a few answers.

Five kinds of question, all as frequent, and for each kind its answers as frequent. One who reads only knows
the kind and takes any of its answers. One who looks only sees the ground, counts and names the things, but
not what is asked: "yes" is his best answer, right for half of three kinds in five. Every scene allows every
kind, so it does not tell which.

image   a scene of 2 to 4 things, two at least different
text    a question

train, validation   the streams "train" and "new_scenes" of `Scenes`: the same drawings in other scenes
test                "unseen_artist"
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import count, product

from sensorium.data.puzzles.definition import Puzzle, balanced
from sensorium.data.puzzles.drawings import STREAMS, drawings, picture
from sensorium.data.sample import Sample
from sensorium.data.scenes.composing import Scenes
from sensorium.data.scenes.questions import Question, Wording, both_orders
from sensorium.data.scenes.scene import GROUNDS, Scene
from sensorium.tasks import OneOf

COUNTS = (2, 3, 4)
KINDS = {
    "ground": tuple(GROUNDS),
    "how_many": tuple(str(many) for many in COUNTS),
    "there": ("no", "yes"),
    "is_left": ("no", "yes"),
    "is_above": ("no", "yes"),
}
"""Kind -> its answers."""
ANSWERS = (*GROUNDS, *KINDS["how_many"], "no", "yes")
CELLS = tuple(product(KINDS, GROUNDS, COUNTS, (False, True)))
SIZE = 160
TRIES = 1000  # scenes set aside for each row to find one that fits; one in six does


def rows(split: str, seed: int) -> Callable[[int], Sample]:
    stream = Scenes(STREAMS[split], seed, SIZE, drawings=drawings())

    def row(i: int) -> Sample:
        id = f"scene_answers/{split}/{seed}/{i}"
        kind, ground, many, true = balanced(CELLS, f"scene_answers/{split}/{seed}", i)
        # The ground is drawn apart from all else in a scene, so any other one is as good.
        scene = replace(_fitting(stream, i, many), ground=ground)
        question = _question(random.Random(id), stream, scene, kind, true)
        return Sample(
            id=id,
            columns={"image": picture(scene), "text": question.text},
            modality=PUZZLE.modality,
            fields={
                "answer": question.answer,
                "hidden": {"image": f"{many} on {ground}", "text": kind},
                "kind": kind,
            },
        )

    return row


def _fitting(stream: Scenes, i: int, many: int) -> Scene:
    """The first scene of those set aside for row i that has so many things and allows every kind of question."""
    for place in count(i * TRIES):
        scene = stream.scene(place)
        if len(scene.things) == many and {question.kind for question in both_orders(scene, 1)} == {
            "is_left",
            "is_above",
        }:
            return scene
    raise AssertionError("count() does not end")


def _question(draw: random.Random, stream: Scenes, scene: Scene, kind: str, true: bool) -> Question:
    """true: whether "yes" is the answer, where yes or no is asked for."""
    word = Wording(scene, "en")
    if kind == "ground":
        return word(kind, scene.ground)
    if kind == "how_many":
        return word(kind, str(len(scene.things)))
    answer = KINDS[kind][true]
    if kind == "there":
        shown = list(dict.fromkeys(placed.thing for placed in scene.things))
        return word(kind, answer, [draw.choice(shown if true else stream.absent(scene))])
    [question] = [q for q in both_orders(scene, 1) if q.kind == kind and q.answer == answer]
    return question


def _mean(shares: list[float]) -> float:
    return sum(shares) / len(shares)


PUZZLE = Puzzle(
    name="scene_answers",
    tasks=(OneOf("answer", ANSWERS),),
    modality={"image": "image", "text": "text"},
    alone={
        "image": _mean([("yes" in answers) / 2 for answers in KINDS.values()]),
        "text": _mean([1 / len(answers) for answers in KINDS.values()]),
    },
    metric="accuracy",
    about="A question about a scene: its ground, how many things, whether one is there, left of or above another.",
    rows=rows,
)
