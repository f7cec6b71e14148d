from collections import Counter

import pytest

from sensorium.data.puzzles import puzzle
from sensorium.data.scenes.vocabulary import drawn


@pytest.mark.parametrize("split", ["train", "test"])
def test_yes_is_the_thing_itself_and_no_another_of_its_group(split):
    groups = {s.columns["text"]: s.fields["group"] for s in drawn()}
    names = {s.fields["thing"]: s.columns["text"] for s in drawn()}
    for sample in puzzle("matching").samples(split, 80):
        shown, named = (sample.fields["hidden"][column] for column in ("image", "text"))
        assert sample.fields["fits"] == ("yes" if shown == named else "no")
        assert groups[shown] == groups[named] == sample.fields["group"]
        assert named in sample.columns["text"]
        _, artist, thing = sample.columns["image"].name.split("/")
        assert names[thing] == shown
        assert artist == sample.fields["artist"]


def test_four_rows_in_a_row_are_the_four_combinations_of_two_things():
    samples = puzzle("matching").samples("train", 80)
    for start in range(0, 80, 4):
        pairs = Counter(tuple(s.fields["hidden"].values()) for s in samples[start : start + 4])
        assert set(pairs.values()) == {1}
        assert len({name for pair in pairs for name in pair}) == 2


def test_the_test_has_things_that_training_never_shows_or_names():
    things = {
        split: {n for s in puzzle("matching").samples(split, 800) for n in s.fields["hidden"].values()}
        for split in ("train", "validation", "test")
    }
    assert not things["train"] & things["validation"]
    assert "shark" in things["test"] - things["train"]
    assert len(things["train"]) > 100
