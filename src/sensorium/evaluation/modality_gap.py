"""The modality gap: how far apart two modalities lie in a space that they are meant to share.

Liang et al. 2022, "Mind the Gap", §2: unit vectors of each modality fill a narrow cone; the gap is the
difference of the two cones' means. A large gap need not hurt retrieval across modalities, but it makes scores
of mixed results (pictures and texts in one list) incomparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from sensorium.evaluation.retrieval import Embedded, Right, unit


@dataclass(frozen=True)
class ModalityGap:
    """Between two columns of unit vectors.

    distance:     Euclidean distance of the two means, in [0, 2]
    blind:        the same with the rows dealt at random into two piles of those sizes: what no gap looks like
    separability: balanced share of rows whose modality a linear classifier tells, cross-validated; 0.5 = none
    matched:      mean cosine of pairs that share a meaning
    unmatched:    mean cosine of all pairs, which the matched must exceed
    """

    distance: float
    blind: float
    separability: float
    matched: float
    unmatched: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def modality_gap(first: Embedded, second: Embedded, seed: int = 0, most: int = 4000) -> ModalityGap:
    """The gap between two columns. Above `most` rows a column, separability is measured on a random part."""
    right = Right.between(first.meanings, second.meanings)
    if not right.counts.any():
        raise ValueError(
            "the two columns share no meaning; a gap is measured between columns that describe the same"
        )
    a, b = unit(first.vectors), unit(second.vectors)
    rng = np.random.default_rng(seed)
    both = np.concatenate([a, b])
    deals = [rng.permutation(len(both)) for _ in range(5)]
    blind = float(np.mean([_distance(both[d[: len(a)]], both[d[len(a) :]]) for d in deals]))
    rows = np.repeat(np.arange(len(a)), right.counts)
    return ModalityGap(
        distance=_distance(a, b),
        blind=blind,
        separability=_separability(_part(a, most, rng), _part(b, most, rng), seed),
        matched=float(np.einsum("nd,nd->n", a[rows], b[right.columns]).mean()),
        unmatched=float(a.mean(0) @ b.mean(0)),
    )


def modality_gaps(columns: Mapping[str, Embedded], seed: int = 0) -> dict[str, ModalityGap]:
    """`{"text_image": ModalityGap, …}` for every pair of columns that share a meaning."""
    return {
        f"{first}_{second}": modality_gap(columns[first], columns[second], seed)
        for first, second in combinations(columns, 2)
        if Right.between(columns[first].meanings, columns[second].meanings).counts.any()
    }


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a.mean(0) - b.mean(0)))


def _part(vectors: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return vectors if len(vectors) <= most else vectors[rng.choice(len(vectors), most, replace=False)]


def _separability(a: np.ndarray, b: np.ndarray, seed: int, folds: int = 5) -> float:
    """Balanced accuracy of a cross-validated logistic regression that tells a's rows from b's."""
    if min(len(a), len(b)) < folds:
        raise ValueError(f"separability: got {len(a)} and {len(b)} rows; expected at least {folds} of each")
    x, y = np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)])
    classifier = LogisticRegression(class_weight="balanced", max_iter=1000)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return float(cross_val_score(classifier, x, y, cv=split, scoring="balanced_accuracy").mean())
