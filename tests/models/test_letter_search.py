"""Beam search over letters: all ways to spell a text are counted, none twice."""

import math
from itertools import groupby, product

import pytest
import torch

from sensorium.models.letter_search import END, hypotheses

LETTERS = "ab"


def brute_force(logits):
    """Text -> log of the summed probability of every way to spell it."""
    rows = logits.log_softmax(-1)
    sums = {}
    for path in product(range(1 + len(LETTERS)), repeat=len(rows)):
        text = "".join(LETTERS[number - 1] for number, _ in groupby(path) if number)
        log = sum(float(row[number]) for row, number in zip(rows, path))
        sums[text] = sums.get(text, 0.0) + math.exp(log)
    return {text: math.log(total) for text, total in sums.items()}


def random_logits(length=5, seed=0):
    return torch.randn(length, 1 + len(LETTERS), generator=torch.Generator().manual_seed(seed))


def taste(prefix, letter):
    """As a language: likes to alternate, and to end soon."""
    return -0.3 if letter == END else (-2.0 if prefix.endswith(letter) else -0.4)


def taste_of(text):
    return sum(taste(text[:place], letter) for place, letter in enumerate(text)) + taste(text, END)


def test_a_wide_beam_finds_every_text_with_the_probability_of_all_its_spellings():
    logits = random_logits()
    right = brute_force(logits)
    found = {one.text: one.sound for one in hypotheses(logits, LETTERS, beam=1000)}
    assert found == pytest.approx(right)
    assert math.fsum(map(math.exp, found.values())) == pytest.approx(1)


def test_a_letter_comes_twice_only_around_none():
    close, apart = (
        torch.tensor([[-9.0, 9, -9], [-9, 9, -9]]),
        torch.tensor([[-9.0, 9, -9], [9, -9, -9], [-9, 9, -9]]),
    )
    assert [hypotheses(logits, LETTERS)[0].text for logits in (close, apart)] == ["a", "aa"]


@pytest.mark.parametrize("seed", range(3))
def test_language_and_length_decide_as_in_the_formula(seed):
    logits = random_logits(seed=seed)
    weight, bonus = 0.8, 0.5
    wanted = {
        text: sound + weight * taste_of(text) + bonus * len(text)
        for text, sound in brute_force(logits).items()
    }
    found = hypotheses(logits, LETTERS, taste, weight, bonus, beam=1000)
    assert {one.text: one.score(weight, bonus) for one in found} == pytest.approx(wanted)
    assert found[0].text == max(wanted, key=wanted.get)
    narrow = hypotheses(logits, LETTERS, taste, weight, bonus, beam=4)
    assert len(narrow) == 4
    assert narrow[0].text == found[0].text


def test_nothing_heard_is_an_empty_text():
    assert [one.text for one in hypotheses(torch.zeros(0, 3), LETTERS)] == [""]
