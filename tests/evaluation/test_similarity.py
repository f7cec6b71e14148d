"""Retrieval from a matrix of similarities: what cosines give by `retrieval_scores`, and a hand-made matrix."""

import numpy as np
import pytest

from sensorium.evaluation.retrieval import Embedded, retrieval_scores
from sensorium.evaluation.scores import Score
from sensorium.evaluation.similarity import matrix_scores


def test_a_matrix_of_cosines_scores_as_its_vectors_do():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(2, 12, 3)).astype(np.float32)
    queries, gallery = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    meanings = [(n // 2,) for n in range(12)]
    groups = [n // 3 for n in range(12)]
    found = matrix_scores(queries @ gallery.T, meanings, meanings, groups, ks=(1, 5))
    expected = retrieval_scores(Embedded(queries, meanings, groups), Embedded(gallery, meanings), ks=(1, 5))
    assert found == {name: expected[name] for name in ("R@1", "R@5")}


def test_a_matrix_by_hand():
    similarity = np.array([[3.0, 1, 2], [1, 2, 3], [1, 1, 1], [9, 9, 9]])
    found = matrix_scores(similarity, [(0,), (1,), (2,), (7,)], [(0,), (1,), (2,)], ks=(1, 2))
    assert isinstance(found["R@1"], Score)
    # first: right; second: the right one is next to best; third: three are tied; the last has no right answer
    assert found["R@1"].value == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert found["R@2"].value == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert found["R@1"].chance == pytest.approx(1 / 3)
    assert found["R@1"].n == 3


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"got \(2, 3\) for 3 queries and 2 items"):
        matrix_scores(np.zeros((2, 3)), [(0,), (1,), (2,)], [(0,), (1,)])
    with pytest.raises(ValueError, match="no query shares a meaning"):
        matrix_scores(np.zeros((1, 1)), [(0,)], [(1,)])
