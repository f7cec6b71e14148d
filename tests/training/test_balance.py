"""Orders that show rare labels as often as frequent ones, counted."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from sensorium.training.balance import Balanced, presence
from sensorium.training.order import Places

LABELS = ["cat"] * 8 + ["dog"] * 2 + ["emu"] * 2


def seen(order: np.ndarray) -> Counter:
    return Counter(LABELS[place] for place in order)


def test_every_label_comes_as_often():
    order = Balanced(LABELS)(0, 0, 12)
    assert seen(order) == {"cat": 4, "dog": 4, "emu": 4}
    assert all(np.bincount(order, minlength=12)[8:] == 2)


def test_the_root_stands_between():
    # √8 : √2 : √2 = 2 : 1 : 1 of twelve places
    assert Balanced(LABELS, q=0.5).shares() == {"cat": 6, "dog": 3, "emu": 3}


def test_q_of_one_is_every_place_once():
    assert sorted(Balanced(LABELS, q=1.0)(0, 0, 12)) == list(range(12))


def test_every_row_of_a_frequent_label_comes_in_time():
    order = Balanced(LABELS)
    assert {int(place) for epoch in range(12) for place in order(0, epoch, 12)} == set(range(12))


def test_rounding_loses_no_place():
    assert sum(Balanced(["a"] * 5 + ["b"] + ["c"]).shares().values()) == 7


def test_rows_without_a_label_come_once_each():
    order = Balanced(["cat", None, "cat", "cat", None, "dog"])(0, 0, 6)
    counts = np.bincount(order, minlength=6)
    assert counts[1] == counts[4] == 1
    assert counts[5] == 2
    assert len(order) == 6


def test_the_order_follows_from_seed_and_epoch():
    order = Balanced(LABELS)
    np.testing.assert_array_equal(order(1, 2, 12), Balanced(LABELS)(1, 2, 12))
    assert order(1, 2, 12).tolist() != order(1, 3, 12).tolist()


def test_presence_is_a_word_a_row():
    assert presence([{"text": "a", "audio": 1}, ["text"], ()]) == ["audio+text", "text", ""]


def test_a_run_goes_on_in_the_same_order():
    order = Balanced(LABELS)
    whole = list(islice(Places(order, 3, 12, 4), 7))
    assert list(islice(Places(order, 3, 12, 4, start=4), 3)) == whole[4:]
    assert seen(np.concatenate([place.rows for place in whole[:3]])) == {"cat": 4, "dog": 4, "emu": 4}


def test_what_cannot_be_balanced_is_refused():
    with pytest.raises(ValueError, match="none of them known"):
        Balanced([None, None])
    with pytest.raises(ValueError, match="from 0"):
        Balanced(LABELS, q=2)
    with pytest.raises(ValueError, match="12 for 13 rows"):
        Balanced(LABELS)(0, 0, 13)
