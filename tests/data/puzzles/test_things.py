from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from sensorium.data.puzzles import puzzle, things
from sensorium.data.puzzles.things import THINGS


@pytest.fixture(scope="module")
def samples():
    return puzzle("things").samples("test", 240)


def test_the_label_is_what_is_shown_and_what_is_named(samples):
    for sample in samples:
        shown, named = (set(sample.fields["hidden"][column]) for column in ("image", "text"))
        assert set(sample.fields["things"]) == shown | named
        assert len(shown) == len(named) == 2
        assert not shown & named
        said = sample.columns["text"].casefold()
        assert {name for name in THINGS if name in said} == named


def test_every_thing_is_there_about_as_often(samples):
    counts = Counter(name for sample in samples for name in sample.fields["things"])
    assert set(counts) == set(THINGS)
    assert all(60 <= many <= 100 for many in counts.values())  # 80 expected


@pytest.mark.parametrize("column", ["image", "text"])
def test_one_who_knows_one_half_gets_what_is_stated(samples, column):
    truth = np.array([[name in sample.fields["things"] for name in THINGS] for sample in samples])
    known = np.array([[name in sample.fields["hidden"][column] for name in THINGS] for sample in samples])
    random = np.random.default_rng(0)
    found = [
        average_precision_score(truth, known + 0.5 * random.random(known.shape), average="macro")
        for _ in range(20)
    ]
    assert np.mean(found) == pytest.approx(puzzle("things").alone[column], abs=0.015)


def test_the_closed_form_has_its_ends():
    assert things._half(12, 4, 0) == pytest.approx(1)  # all known
    # Next to nothing known: precision of chance.
    assert things._half(12, 1e-9, 4) == pytest.approx(4 / 12)
