"""Perplexity and accuracy over tokens, with answers known by hand."""

import numpy as np
import pytest

from sensorium.evaluation.generated import Baselines, score_of
from sensorium.evaluation.perplexity import Unigram, perplexity, share_of_tokens


def test_a_model_that_knows_nothing_is_as_perplexed_as_it_has_words():
    counts = np.array([3, 1, 6])
    measured = perplexity(counts * np.log(50), counts)
    assert measured.value == pytest.approx(50)
    assert measured.unit == "distance"  # less is better
    halved = perplexity(counts * np.log(25), counts)
    score = score_of(halved, Baselines(majority=measured))
    assert (score.value, score.majority, score.margin) == pytest.approx((25, 50, 25))
    assert score.clears


def test_tokens_count_alike_however_long_their_texts_are():
    nats, counts = np.array([np.log(2), 3 * np.log(16)]), np.array([1, 3])
    assert perplexity(nats, counts).value == pytest.approx(2 ** (13 / 4))
    assert share_of_tokens(np.array([1, 0]), counts).value == 0.25
    assert share_of_tokens(np.array([1, 0]), counts).over(np.array([0, 0])) == 1.0
    with pytest.raises(ValueError, match="at least one token"):
        perplexity(np.zeros(2), np.zeros(2, int))


def test_a_unigram_model_counts_one_more_of_each_word_but_marks():
    unigram = Unigram([[1, 1, 2], [1]], words=4, never=[0])
    # counts 4, 2 and 1 of 7
    assert unigram.most_frequent == 1
    assert np.exp(-unigram.nats([1])) == pytest.approx(4 / 7)
    assert np.exp(-unigram.nats([3, 2])) == pytest.approx(2 / 49)
