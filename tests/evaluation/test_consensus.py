"""The consensus of several texts, against answers worked out by hand."""

import numpy as np
import pytest

from sensorium.evaluation.captions import CaptionScores, rouge_l
from sensorium.evaluation.consensus import agreement, consensus


def test_the_consensus_is_not_the_likeliest_but_the_one_that_agrees_most():
    agreed = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.8], [0.0, 0.6, 1.0]])
    # Expected worth: 0.4; 0.3 + 0.8 · 0.3 = 0.54; 0.6 · 0.3 + 0.3 = 0.48.
    assert consensus(agreed, np.array([0.4, 0.3, 0.3])) == 1
    assert consensus(agreed, np.array([0.6, 0.2, 0.2])) == 0
    assert consensus(np.eye(3), np.array([0.2, 0.5, 0.3])) == 1  # where nothing is shared: the likeliest
    assert consensus(np.eye(3), np.ones(3)) == 0  # of equal ones the first


def test_texts_agree_by_rouge_l():
    agreed = agreement(["A red fish.", "A fish!", "Tux"])
    # "a fish" of "a red fish": precision 1, recall 2/3; the other way round 2/3 and 1; β = 1.2.
    assert agreed[1, 0] == pytest.approx((1 + 1.44) * 1 * (2 / 3) / (2 / 3 + 1.44 * 1))
    assert agreed[0, 1] == pytest.approx((1 + 1.44) * (2 / 3) * 1 / (1 + 1.44 * (2 / 3)))
    assert np.diag(agreed).tolist() == [1.0, 1.0, 1.0]
    assert agreed[2, :2].tolist() == agreed[:2, 2].tolist() == [0.0, 0.0]


def test_the_table_is_what_captions_are_scored_by():
    said, right = ["A red fish.", "Two cats, asleep."], ["A fish.", "Two black cats"]
    scored = CaptionScores([[one] for one in right], tokenizer="simple", meteor=False)(said)["ROUGE-L"]
    assert np.diag(rouge_l(said, right)).tolist() == scored.values.tolist()
    assert rouge_l(said[:1], right).shape == (1, 2)
