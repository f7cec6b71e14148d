"""Letters that follow letters: the formula by hand, and probabilities that sum to one."""

import math

import pytest

from sensorium.models.letter_counts import START, LetterCounts
from sensorium.models.letter_search import END


def test_the_formula_by_hand():
    counts = LetterCounts(["ab", "aa"], order=2)
    # Six letters and ends: a three times, b once, END twice. Letters: a, b, END, START.
    first = (3 + 3 / 4) / (6 + 3)
    assert math.exp(counts("b", "a")) == pytest.approx((0 + 1 * first) / (1 + 1))  # after b only END
    assert math.exp(counts("", "a")) == pytest.approx((2 + 1 * first) / (2 + 1))  # both texts begin with a


def test_an_order_of_one_looks_at_nothing_before():
    counts = LetterCounts(["ab", "aa"], order=1)
    assert counts("", "a") == counts("bbb", "a") == pytest.approx(math.log((3 + 3 / 4) / 9))


@pytest.mark.parametrize("prefix", ["", "a", "ban", "x", "nanana"])
def test_probabilities_sum_to_one(prefix):
    counts = LetterCounts(["banana", "ananas", "un"], order=4)
    letters = [*sorted(set("bananasun")), END, START]
    assert math.fsum(math.exp(counts(prefix, letter)) for letter in letters) == pytest.approx(1)


def test_a_known_beginning_goes_on_as_it_did():
    counts = LetterCounts(["une vache", "une fleur", "un chat"])
    assert max("abcehlnrtuv ", key=lambda letter: counts("un", letter)) == "e"
    assert counts("une vache", END) > counts("une vach", END)


def test_order_is_at_least_one():
    with pytest.raises(ValueError, match="order=0"):
        LetterCounts(["a"], order=0)
