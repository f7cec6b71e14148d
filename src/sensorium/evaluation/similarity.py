"""Retrieval by similarities that are no cosine of two vectors: the best of several vectors, or a judge of pairs.

similarity matrix, meanings -> where the first right item stands -> Scores
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.evaluation.retrieval import Meanings, Ranks, Right, ranks_of_scores
from sensorium.evaluation.scores import Score, interval


def matrix_scores(
    similarity: np.ndarray,
    queries: Meanings,
    gallery: Meanings,
    groups: Sequence | None = None,
    ks: Sequence[int] = (1, 10),
    shuffles: int = 5,
    seed: int = 0,
) -> dict[str, Score]:
    """R@k of finding, for each query, any gallery item that shares a meaning, as `retrieval_scores` counts it.

    similarity: float[Q, G], higher is nearer; queries, gallery: what Q rows and G columns mean
    groups:     Q labels of queries that are not independent, for the bootstrap
    Queries without a right answer are left out. Blind: each query's answers are those of another query.
    Raises ValueError when shapes do not fit or no query can be answered.
    """
    if similarity.shape != (len(queries), len(gallery)):
        raise ValueError(
            f"similarity: got {similarity.shape} for {len(queries)} queries and {len(gallery)} items; "
            "expected one row a query and one column an item"
        )
    right = Right.between(queries, gallery)
    rows = np.flatnonzero(right.counts)
    if not len(rows):
        raise ValueError("no query shares a meaning with any item; check the meanings of both sides")
    scores, right = similarity[rows], right.take(rows)
    labels = None if groups is None else np.asarray(groups)[rows]
    rng = np.random.default_rng(seed)
    true = ranks_of_scores(scores, right)
    blind = [ranks_of_scores(scores, right.take(rng.permutation(len(rows)))) for _ in range(shuffles)]
    wrong = len(gallery) - right.counts
    chance = Ranks(np.zeros_like(wrong), wrong, right.counts)
    found = {}
    for k in ks:
        hits = true.hit(k)
        low, high = interval(hits, groups=labels, seed=seed)
        of_blind = float(np.mean([one.hit(k).mean() for one in blind]))
        found[f"R@{k}"] = Score(
            float(hits.mean()), low, high, of_blind, len(rows), float(chance.hit(k).mean())
        )
    return found
