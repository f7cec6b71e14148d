"""Zero-shot classification: pictures (or sounds) named by the class whose prompts lie nearest.

media vectors float[N, D], prompt vectors float[C, T, D], labels int64[N] -> Scores

Radford et al. 2021 (CLIP), §3.1: a class's T prompts are embedded, normalised, averaged and normalised again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.evaluation.retrieval import Ranks, Right, ranks, unit
from sensorium.evaluation.scores import Score, interval


def class_vectors(prompts: np.ndarray) -> np.ndarray:
    """Prompt vectors float[C, T, D], T templates of each of C classes -> unit float32[C, D]."""
    C, T, D = prompts.shape
    return unit(unit(prompts.reshape(C * T, D)).reshape(C, T, D).mean(1))


def zero_shot_scores(
    media: np.ndarray,
    classes: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    ks: Sequence[int] = (1, 5),
    groups: Sequence | np.ndarray | None = None,
    shuffles: int = 5,
    seed: int = 0,
) -> dict[str, Score]:
    """Accuracy of naming by the nearest class: "top-1", "top-5" …, and "per_class", the class mean of top-1.

    media: float[N, D]; classes: float[C, D]; labels: int64[N] in [0, C); groups: see `scores.interval`.
    A k larger than the number of classes is left out. The blind baseline shuffles the media among the labels.
    """
    labels = np.asarray(labels)
    if len(labels) != len(media):
        raise ValueError(f"labels: got {len(labels)} for {len(media)} media; expected one each")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(
            f"labels: got {labels.min()} … {labels.max()} with {len(classes)} classes; "
            f"expected 0 … {len(classes) - 1}"
        )
    right = Right(labels.astype(np.int64), np.ones(len(labels), np.int64))
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(labels)) for _ in range(shuffles)]
    true, *blind = ranks(media, classes, [right, *(right.take(order) for order in orders)])
    wrong = np.full(len(labels), len(classes) - 1)
    chance = Ranks(np.zeros_like(wrong), wrong, np.ones_like(wrong))

    scores = {}
    for k in (k for k in ks if k <= len(classes)):
        low, high = interval(true.hit(k), groups=groups, seed=seed)
        blind_mean = float(np.mean([b.hit(k).mean() for b in blind]))
        value, at_chance = float(true.hit(k).mean()), float(chance.hit(k).mean())
        scores[f"top-{k}"] = Score(value, low, high, blind_mean, len(labels), at_chance)

    first = true.hit(1)
    low, high = interval(first, lambda rows: _per_class(first[rows], labels[rows]), groups, seed=seed)
    blind_mean = float(np.mean([_per_class(b.hit(1), labels[order]) for b, order in zip(blind, orders)]))
    scores["per_class"] = Score(
        _per_class(first, labels), low, high, blind_mean, len(labels), 1 / len(classes)
    )
    return scores


def _per_class(values: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur of the mean value within each."""
    counts = np.bincount(labels)
    seen = counts > 0
    return float((np.bincount(labels, weights=values)[seen] / counts[seen]).mean())
