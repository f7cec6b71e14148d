"""Probes against scikit-learn's own neighbours, and on vectors whose answer is known."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from sensorium.evaluation.probes import TEMPERATURE, Vectors, knn_probe, linear_probe, probes

NAMES = np.array(["cat", "dog", "ship"])


def clouds(n: int, seed: int, spread: float = 0.3):
    """Three clouds far apart: (float[n, 8], labels)."""
    random = np.random.default_rng(seed)
    centres = 3 * np.eye(3, 8)
    classes = random.integers(0, 3, n)
    return centres[classes] + spread * random.normal(size=(n, 8)), NAMES[classes].tolist()


def test_classes_that_lie_apart_are_told_apart_by_both():
    (train, labels), (test, right) = clouds(90, 0), clouds(60, 1)
    majority = right.count(max(set(labels), key=labels.count)) / 60
    for probe in (linear_probe, knn_probe):
        score = probe(torch.from_numpy(train).float(), labels, test, right)
        assert score.value == 1.0
        assert score.majority == pytest.approx(majority)
        assert score.n == 60
        assert score.clears


def test_vectors_that_say_nothing_score_about_as_the_majority():
    random = np.random.default_rng(3)
    labels = NAMES[random.integers(0, 3, 300)].tolist()
    score = linear_probe(random.normal(size=(300, 4)), labels, random.normal(size=(300, 4)), labels)
    assert score.low < 0.45
    assert score.clears is False


def test_the_vote_is_that_of_scikit_learn():
    (train, labels), (test, right) = clouds(200, 4, 3.0), clouds(80, 5, 3.0)
    unit = train / np.linalg.norm(train, axis=1, keepdims=True)
    other = test / np.linalg.norm(test, axis=1, keepdims=True)
    reference = KNeighborsClassifier(
        7, metric="cosine", weights=lambda distance: np.exp((1 - distance) / TEMPERATURE)
    ).fit(unit, labels)
    score = knn_probe(train, labels, test, right, k=7)
    assert score.value == pytest.approx((reference.predict(other) == np.array(right)).mean())
    assert 0.3 < score.value < 1


def test_the_linear_probe_does_not_mind_scale_nor_numbers_that_never_change():
    (train, labels), (test, right) = clouds(200, 6, 2.0), clouds(80, 7, 2.0)
    plain = linear_probe(train, labels, test, right)
    moved = [np.hstack([1e4 * x - 7e4, np.full((len(x), 1), 0.1)]) for x in (train, test)]
    moved[1][:, -1] += 1e-9
    assert linear_probe(moved[0], labels, moved[1], right).value == plain.value


def test_the_gain_over_the_untrained_encoder_has_the_difference_as_its_value():
    (train, labels), (test, right) = clouds(90, 0), clouds(60, 1)
    blind = Vectors(
        np.random.default_rng(0).normal(size=(90, 8)), np.random.default_rng(1).normal(size=(60, 8))
    )
    found = probes(Vectors(train, test), blind, labels, right, groups=np.arange(60) // 2)
    assert list(found) == [
        f"{kind}.{what}" for kind in ("linear", "nearest") for what in ("accuracy", "untrained", "gain")
    ]
    for kind in ("linear", "nearest"):
        gain = found[f"{kind}.gain"]
        difference = found[f"{kind}.accuracy"].value - found[f"{kind}.untrained"].value
        assert gain.value == pytest.approx(difference)
        assert 0.2 < gain.low < gain.value < gain.high
    same = probes(blind, blind, labels, right, kinds=["nearest"])
    assert (same["nearest.gain"].low, same["nearest.gain"].high) == (0, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test_vectors": np.zeros((4, 5))}, r"\[6, 3\] to fit on and \[4, 5\]"),
        ({"test_labels": ["a"]}, "4 test vectors and 1 labels"),
        ({"train_labels": ["a"] * 6}, "got only 'a'"),
        ({"train_vectors": np.full((6, 3), np.nan)}, "not finite"),
    ],
)
def test_what_does_not_fit_is_said(change, words):
    given = {
        "train_vectors": np.eye(6, 3),
        "train_labels": list("aabbab"),
        "test_vectors": np.eye(4, 3),
        "test_labels": list("abab"),
    }
    with pytest.raises(ValueError, match=words):
        linear_probe(**(given | change))
    with pytest.raises(ValueError, match="k=7 neighbours"):
        knn_probe(**given, k=7)
