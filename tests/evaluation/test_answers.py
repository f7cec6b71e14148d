import numpy as np
import pytest

from sensorium.evaluation.answers import (
    DIGITS,
    REPAIRED,
    ExactMatch,
    VqaAccuracy,
    normalised,
    vqa_accuracy,
    vqa_normalised,
)


@pytest.mark.parametrize(
    ("said", "form"),
    [
        ("A red car.", "red car"),
        ("Two", "2"),
        ("none", "0"),
        ("isnt it", "isn't it"),
        ("couldntve", "couldntve"),  # only one apostrophe may be missing
        ("couldn'tve", "couldn't've"),
        ("1,000 - 2,000", "1000 2000"),  # a comma between digits: every sign is dropped
        ("left/right", "left right"),
        ("left / right/up", "left rightup"),  # a slash beside a space: all slashes are dropped
        ("e-mail (old)", "e mail old"),
        ("3.5 in. deep", "3.5 in deep"),
        ("U.S.", "us"),
        ("the\tsea\nside ", "sea side"),
        ("somebody'd", "somebodyd"),
    ],
)
def test_normal_form_of_the_vqa_evaluation(said: str, form: str) -> None:
    assert vqa_normalised(said) == form


def test_tables_have_the_entries_of_the_published_ones_that_can_match() -> None:
    assert len(REPAIRED) == 114  # those of the published program: lower case, and not mapped to themselves
    assert DIGITS["none"] == DIGITS["zero"] == "0"
    assert DIGITS["ten"] == "10"
    assert len(DIGITS) == 12


def test_vqa_accuracy_is_the_mean_over_leaving_out_each_human() -> None:
    # Two of ten agree: left out one of the two, 1/3 remains (twice); left out another, 2/3 (eight times).
    assert vqa_accuracy("cat", ["cat"] * 2 + ["dog"] * 8) == pytest.approx((2 * 1 / 3 + 8 * 2 / 3) / 10)
    assert vqa_accuracy("cat", ["cat"] * 3 + ["dog"] * 7) == pytest.approx((3 * 2 / 3 + 7) / 10)
    assert vqa_accuracy("a cat!", ["cat"] * 4 + ["dog"] * 6) == 1.0
    assert vqa_accuracy("bird", ["cat"] * 10) == 0.0


def test_humans_answers_are_normalised_unless_they_are_the_released_ones() -> None:
    humans = ["The cat"] * 9 + ["dog"]
    assert vqa_accuracy("cat", humans) == 1.0
    assert vqa_accuracy("cat", humans, released=True) == 0.0  # the published program keeps their articles
    assert vqa_accuracy("red car", ["red/car"] * 9 + ["dog"], released=True) == 1.0  # but not their signs,
    assert vqa_accuracy("red car", ["red/car"] * 10, released=True) == 0.0  # unless all say the same


def test_exact_match_in_all_and_for_each_kind() -> None:
    scorer = ExactMatch(["two", ["cat", "kitten"], "blue", "three"], ["count", "name", "colour", "count"])
    found = scorer(["2.", "A kitten", "red", "four"])
    assert {name: one.value for name, one in found.items()} == {
        "accuracy": 0.5,
        "count.accuracy": 0.5,
        "name.accuracy": 1.0,
        "colour.accuracy": 0.0,
    }
    rows = found["count.accuracy"].rows
    assert rows is not None
    assert rows.tolist() == [0, 3]


def test_vqa_scores_by_kind_agree_with_single_ones() -> None:
    humans = [["cat"] * 2 + ["dog"] * 8, ["yes"] * 10]
    found = VqaAccuracy(humans, ["name", "there"])(["cat", "yes"])
    assert found["vqa_accuracy"].value == pytest.approx(np.mean([vqa_accuracy("cat", humans[0]), 1.0]))
    assert found["there.vqa_accuracy"].value == 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [("It’s", "it's"), ("左边。", "左边"), ("cafe\u0301", "café"), ("２", "two"), ("Yes！", "yes")],
)
def test_typography_does_not_count(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


def test_accents_count_and_nothing_is_not_an_article() -> None:
    assert normalised("café") != normalised("cafe")
    assert ExactMatch(["A"])([""])["accuracy"].value == 0.0
    assert ExactMatch(["A"])(["a"])["accuracy"].value == 1.0


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match="answers: got 1; expected 2, one for each question"):
        ExactMatch(["a", "b"])(["a"])
    with pytest.raises(ValueError, match="answers: got one string"):
        ExactMatch(["a", "b"])("ab")
    with pytest.raises(ValueError, match=r"question 1 has the right answers \[\]"):
        ExactMatch(["a", []])
    with pytest.raises(ValueError, match="use ExactMatch"):
        VqaAccuracy(["cat"])
    with pytest.raises(ValueError, match="kinds: got 1; expected 2"):
        ExactMatch(["a", "b"], ["x"])
