"""Composed scenes: the bundled drawings on a ground, with all that is true of them known exactly.

(split, seed, i) -> Scene -> picture | video | state, masks, captions, questions with answers

vocabulary.py     150 things for training and 30 that it never shows, named in English and Chinese; held-out pairs
scene.py          what a scene is
composing.py      `Scenes`, an endless reproducible stream for each split
drawing.py        pictures and masks
questions.py      questions about a picture with one right answer each, and the templates of all questions
motion.py         `MovingScenes`, videos of them and questions that need several frames
sensing.py        the state that a sensor gives, and the question that needs picture and state together
captions.py       one line about a scene
conversations.py  questions as messages
balance.py        what guessing without looking gets
card.py           the numbers and the picture of docs/scenes.md

A stream for training and one for a test, the questions about a scene and their answers:

    train, test = Scenes("train"), Scenes("unseen_artist")
    scene = train.scene(0)
    picture = train.picture(scene)
    messages = as_conversations(train.questions(scene), {"image": picture})
"""

from sensorium.data.scenes.balance import blind, by_kind, majority, names_only
from sensorium.data.scenes.captions import caption, describe
from sensorium.data.scenes.composing import SPLITS, Scenes
from sensorium.data.scenes.conversations import as_conversations
from sensorium.data.scenes.motion import MovingScenes, backwards, frozen, shuffled
from sensorium.data.scenes.questions import (
    KINDS,
    MOTION_KINDS,
    STATE_KINDS,
    STILL_KINDS,
    Question,
    both_orders,
)
from sensorium.data.scenes.scene import GROUNDS, Placed, Scene
from sensorium.data.scenes.sensing import STATE, path, plans, state
from sensorium.data.scenes.vocabulary import LANGUAGES, Thing, held_out, vocabulary

__all__ = [
    "GROUNDS",
    "KINDS",
    "LANGUAGES",
    "MOTION_KINDS",
    "SPLITS",
    "STATE",
    "STATE_KINDS",
    "STILL_KINDS",
    "MovingScenes",
    "Placed",
    "Question",
    "Scene",
    "Scenes",
    "Thing",
    "as_conversations",
    "backwards",
    "blind",
    "both_orders",
    "by_kind",
    "caption",
    "describe",
    "frozen",
    "held_out",
    "majority",
    "names_only",
    "path",
    "plans",
    "shuffled",
    "state",
    "vocabulary",
]
