"""How much of a label can be read off an encoder's vectors: a linear probe and a vote of the nearest, with labels.

float[N, D] of a frozen encoder, N labels, float[M, D] of pictures or words it was not fitted on -> GeneratedScore

A random network's vectors tell classes apart, too, so `probes` prints the same encoder before training beside every
score, and the gain over it with its own interval.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sensorium.evaluation.generated import Baselines, GeneratedScore, Measured, margin, score_of
from sensorium.evaluation.scores import RESAMPLES

NEIGHBOURS = 10
STRENGTH = 1.0  # of the data against the penalty on the weights (scikit-learn's C)
STEPS = 500  # of L-BFGS at most
TEMPERATURE = 0.07  # of the neighbours' votes (Wu et al. 2018, arXiv:1805.01978, section 3.4)
ROWS = 1024  # similarities computed at a time

Probe = Literal["linear", "nearest"]


@dataclass(frozen=True)
class Vectors:
    """One encoder's vectors of the rows that a probe is fitted on, float[N, D], and of those it is tested on."""

    train: np.ndarray
    test: np.ndarray


def linear_probe(
    train_vectors: Any,
    train_labels: Sequence[Any],
    test_vectors: Any,
    test_labels: Sequence[Any],
    groups: Sequence[Any] | None = None,
    strength: float = STRENGTH,
    resamples: int = RESAMPLES,
) -> GeneratedScore:
    """Accuracy of a multinomial logistic regression on standardised vectors, beside the majority label.

    vectors: float[N, D] of a frozen encoder, arrays or tensors; labels: one a row, of any kind
    groups:  a label a test row; rows with the same one are drawn together for the interval
    strength: of the data against the L2 penalty (scikit-learn's C)

    Raises ValueError when numbers of rows or widths do not fit, or there is but one label to learn.
    """
    said = _linear(
        *_checked(train_vectors, train_labels, test_vectors, test_labels), np.asarray(train_labels), strength
    )
    return _score(said, train_labels, test_labels, groups, resamples)


def knn_probe(
    train_vectors: Any,
    train_labels: Sequence[Any],
    test_vectors: Any,
    test_labels: Sequence[Any],
    groups: Sequence[Any] | None = None,
    k: int = NEIGHBOURS,
    resamples: int = RESAMPLES,
) -> GeneratedScore:
    """Accuracy of a vote of the k nearest training rows by cosine, beside the majority label. Nothing is fitted.

    A neighbour's vote weighs e^(cosine / 0.07), as in Wu et al. 2018 (section 3.4). Arguments and errors as of
    `linear_probe`.
    """
    said = _nearest(
        *_checked(train_vectors, train_labels, test_vectors, test_labels), np.asarray(train_labels), k
    )
    return _score(said, train_labels, test_labels, groups, resamples)


def probes(
    trained: Vectors,
    untrained: Vectors | None,
    train_labels: Sequence[Any],
    test_labels: Sequence[Any],
    groups: Sequence[Any] | None = None,
    kinds: Sequence[Probe] = ("linear", "nearest"),
    k: int = NEIGHBOURS,
    resamples: int = RESAMPLES,
) -> dict[str, GeneratedScore]:
    """Both probes of an encoder, beside the same probes of the same encoder before training.

    {"linear.accuracy", "linear.untrained", "linear.gain", "nearest.accuracy", …}: the gain is accuracy less
    untrained, with the 95 % interval of the difference on the same test rows; it holds where that interval lies
    above zero. Without `untrained`, the accuracies alone.
    """
    made: dict[str, GeneratedScore] = {}
    runs: dict[Probe, Callable[[Vectors], np.ndarray]] = {
        "linear": lambda v: _linear(
            *_checked(v.train, train_labels, v.test, test_labels), np.asarray(train_labels), STRENGTH
        ),
        "nearest": lambda v: _nearest(
            *_checked(v.train, train_labels, v.test, test_labels), np.asarray(train_labels), k
        ),
    }
    for kind in kinds:
        said = runs[kind](trained)
        made[f"{kind}.accuracy"] = _score(said, train_labels, test_labels, groups, resamples)
        if untrained is None:
            continue
        before = runs[kind](untrained)
        made[f"{kind}.untrained"] = _score(before, train_labels, test_labels, groups, resamples)
        right, first = (_right(answers, test_labels) for answers in (said, before))
        gain = margin(right, [first], groups, resamples)
        made[f"{kind}.gain"] = GeneratedScore(
            gain.value,
            gain.low,
            gain.high,
            len(right),
            note="gain: accuracy of the probe less that of the same probe on the same encoder before training",
        )
    return made


def _linear(train: np.ndarray, test: np.ndarray, labels: np.ndarray, strength: float) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, spread = train.mean(0), train.std(0)
    # A number that never changes says nothing; dividing by its rounding error would make it loud.
    scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, np.inf)
    model = LogisticRegression(C=strength, max_iter=STEPS)
    with warnings.catch_warnings():  # stopped after STEPS: the accuracy does not move any more
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((train - mean) / scale, labels)
    said: np.ndarray = model.predict((test - mean) / scale)
    return said


def _nearest(train: np.ndarray, test: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    if not 1 <= k <= len(train):
        raise ValueError(f"k={k} neighbours; expected from 1 to the {len(train)} training rows")
    names, classes = np.unique(labels, return_inverse=True)
    train, test = _unit(train), _unit(test)
    said = []
    for start in range(0, len(test), ROWS):
        cosine = test[start : start + ROWS] @ train.T  # [M, N]
        near = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        weight = np.exp(np.take_along_axis(cosine, near, 1) / TEMPERATURE)
        votes = np.zeros((len(cosine), len(names)))
        np.add.at(votes, (np.arange(len(cosine))[:, None], classes[near]), weight)
        said.append(names[votes.argmax(1)])
    return np.concatenate(said)


def _unit(vectors: np.ndarray) -> np.ndarray:
    made: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return made


def _score(
    said: np.ndarray,
    train_labels: Sequence[Any],
    test_labels: Sequence[Any],
    groups: Sequence[Any] | None,
    resamples: int,
) -> GeneratedScore:
    most = Counter(train_labels).most_common(1)[0][0]
    majority = _right(np.array([most] * len(test_labels)), test_labels)
    return score_of(_right(said, test_labels), Baselines(majority=majority), groups, resamples)


def _right(said: np.ndarray, labels: Sequence[Any]) -> Measured:
    return Measured((said == np.asarray(labels)).astype(float))


def _checked(train: Any, train_labels: Any, test: Any, test_labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """The vectors as float64. Raises ValueError when they do not fit each other or their labels."""
    one, other = np.asarray(train, np.float64), np.asarray(test, np.float64)
    if one.ndim != 2 or other.ndim != 2 or one.shape[1:] != other.shape[1:]:
        raise ValueError(
            f"vectors of shape {list(one.shape)} to fit on and {list(other.shape)} to test on; expected "
            "[N, D] and [M, D]"
        )
    for what, vectors, labels in (("training", one, train_labels), ("test", other, test_labels)):
        if len(vectors) != len(labels) or not len(vectors):
            raise ValueError(
                f"{len(vectors)} {what} vectors and {len(labels)} labels; expected one each, and some"
            )
        if not np.isfinite(vectors).all():
            raise ValueError(f"{what} vectors: got values that are not finite; expected an encoder's output")
    if len(set(train_labels)) < 2:
        raise ValueError(f"training labels: got only {next(iter(train_labels))!r}; expected two or more")
    return one, other
