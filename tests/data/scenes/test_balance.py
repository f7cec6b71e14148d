"""What guessing gets on many questions, and on a few made by hand."""

from collections import Counter, defaultdict

import pytest

from sensorium.data.scenes import Question, blind, by_kind, majority, names_only
from sensorium.data.scenes.balance import BOUNDS

MANY = 2000


@pytest.fixture(scope="module")
def asked(streams):
    """Pairs of scene and question of two splits."""
    return {
        split: [
            (scene, question)
            for scene in map(streams[split].scene, range(MANY))
            for question in streams[split].questions(scene)
        ]
        for split in ("train", "unseen_artist")
    }


def test_guessing_stays_below_the_stated_bounds(asked):
    train, test = ([question for _, question in asked[split]] for split in ("train", "unseen_artist"))
    constant, reading = majority(test), blind(train, test)
    assert set(constant) == set(reading) <= set(BOUNDS)
    for kind in constant:
        assert constant[kind] <= BOUNDS[kind], kind
        assert reading[kind] <= BOUNDS[kind], kind


def test_who_sees_what_repeats_but_not_what_it_is_counts_right_half_of_the_time(asked):
    by_counts = defaultdict(Counter)
    for scene, question in asked["train"]:
        if question.kind == "how_many_x":
            by_counts[tuple(sorted(Counter(scene.names).values()))][question.answer] += 1
    right = sum(max(answers.values()) for answers in by_counts.values())
    assert right / sum(answers.total() for answers in by_counts.values()) == pytest.approx(0.5, abs=0.01)


def test_a_thing_is_asked_for_as_often_when_it_is_there(asked):
    yes = Counter(
        question.about[0]
        for _, question in asked["train"]
        if question.answer == "yes" and question.kind == "there"
    )
    no = Counter(
        question.about[0]
        for _, question in asked["train"]
        if question.answer == "no" and question.kind == "there"
    )
    assert len(yes) == len(no) == 150
    assert max(yes.values()) < 3 * MANY / 150
    assert max(no.values()) < 3 * MANY / 150


def hand(kind, answer, *about, candidates=0):
    return Question(kind, "?", answer, "en", about, candidates)


def test_majority_and_names_by_hand():
    questions = [
        hand("ground", "red"),
        hand("ground", "red"),
        hand("ground", "blue"),
        hand("there", "no", "dog"),
    ]
    assert majority(questions) == {"ground": 2 / 3, "there": 1.0}
    assert {kind: len(group) for kind, group in by_kind(questions).items()} == {"ground": 3, "there": 1}
    placed = [hand("left_of", "cat", "dog", candidates=1), hand("left_of", "cat", "owl", candidates=3)]
    assert names_only([*placed, *questions]) == {"left_of": pytest.approx(2 / 3)}


def test_blind_reads_the_names():
    """Dogs are always there in training and cats never: the text gives it away, a constant answer does not."""
    train = [hand("there", "yes", "dog")] * 10 + [hand("there", "no", "cat")] * 10
    test = [hand("there", "yes", "dog"), hand("there", "no", "cat")] * 5
    assert majority(test)["there"] == 0.5
    assert blind(train, test)["there"] == 1.0


def test_blind_takes_one_of_two_that_are_offered():
    names = [("dog", "cat"), ("cat", "owl"), ("owl", "dog"), ("fox", "bee"), ("ant", "hen")]
    train = [hand("faster", pair[0], *pair) for pair in names]
    assert (
        blind(train, [hand("faster", "bus", "bus", "car"), hand("faster", "car", "bus", "car")])["faster"]
        == 0.5
    )
