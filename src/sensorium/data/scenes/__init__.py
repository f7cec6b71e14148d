"""Composed scenes: the bundled drawings on a ground, with all that is true of them known exactly.

(split, seed, i) -> Scene -> picture, masks, questions with answers

vocabulary.py  150 things for training and 30 that it never shows, named in English and Chinese; held-out pairs
scene.py       what a scene is
composing.py   `Scenes`, an endless reproducible stream for each split
drawing.py     pictures and masks
questions.py   questions with one right answer each
balance.py     what guessing without looking gets
"""

from sensorium.data.scenes.balance import blind, majority, names_only
from sensorium.data.scenes.composing import SPLITS, Scenes
from sensorium.data.scenes.questions import KINDS, Question
from sensorium.data.scenes.scene import GROUNDS, Placed, Scene
from sensorium.data.scenes.vocabulary import LANGUAGES, Thing, held_out, vocabulary

__all__ = [
    "GROUNDS",
    "KINDS",
    "LANGUAGES",
    "SPLITS",
    "Placed",
    "Question",
    "Scene",
    "Scenes",
    "Thing",
    "blind",
    "held_out",
    "majority",
    "names_only",
    "vocabulary",
]
