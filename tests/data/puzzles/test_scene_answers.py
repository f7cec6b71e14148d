from collections import Counter

import pytest

from sensorium.data.puzzles import puzzle, scene_answers
from sensorium.data.puzzles.drawings import STREAMS, drawings
from sensorium.data.scenes.composing import Scenes
from sensorium.data.scenes.scene import GROUNDS


@pytest.fixture(scope="module")
def samples():
    return puzzle("scene_answers").samples("test", 180)


def test_answers_are_as_frequent_within_a_kind(samples):
    for kind, answers in scene_answers.KINDS.items():
        counts = Counter(s.fields["answer"] for s in samples if s.fields["kind"] == kind)
        assert counts == {answer: 36 // len(answers) for answer in answers}


def test_answers_are_true_of_the_scene(samples):
    stream = Scenes(STREAMS["test"], 0, scene_answers.SIZE, drawings=drawings())
    for i, sample in enumerate(samples):
        many, _, ground = sample.fields["hidden"]["image"].split()
        scene = scene_answers._fitting(stream, i, int(many))
        kind, answer, text = sample.fields["kind"], sample.fields["answer"], sample.columns["text"]
        places = {placed.thing.en: placed.centre for placed in scene.things}
        if kind == "ground":
            assert answer == ground
            assert tuple(sample.columns["image"][0, 0]) == GROUNDS[ground][0] or len(places) > 1
        elif kind == "how_many":
            assert answer == str(len(scene.things)) == many
        elif kind == "there":
            asked = text.removeprefix("Is there ").removesuffix("?").split(" ", 1)[1]
            assert answer == ("yes" if asked in places else "no")
        else:
            axis, words = (0, " left of the ") if kind == "is_left" else (1, " above the ")
            one, other = text.removeprefix("Is the ").removesuffix("?").split(words)
            assert answer == ("yes" if places[one][axis] < places[other][axis] else "no")


def test_every_answer_is_a_label(samples):
    assert {sample.fields["answer"] for sample in samples} == set(scene_answers.ANSWERS)
    assert len(scene_answers.ANSWERS) == 11
