"""Drop-one: what each modality contributes to a query that is asked in several at once.

{column: vectors}, present -> fused query -> retrieval; again without each column; again with each alone
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sensorium.evaluation.retrieval import Embedded, Meanings, keys_of, retrieval_scores, unit
from sensorium.evaluation.scores import Score

Fuse = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def mean_of_units(vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    """{column: float[N, D]} -> unit float32[N, D]: the direction of the sum of the columns' unit vectors."""
    return unit(np.sum([unit(v) for v in vectors.values()], axis=0))


def drop_one(
    vectors: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
    meanings: Meanings,
    gallery: Embedded,
    fuse: Fuse = mean_of_units,
    k: int = 1,
    groups: Sequence | np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Score]:
    """R@k of the fused query, then with each column dropped in turn, then of each column alone.

    vectors: {column: float[N, D]}, rows of a column that are not `present` are not looked at
    present: {column: bool[N]}
    gallery: the column searched; it must not be among the query's

    Returns "all.R@1", "without_<column>.R@1", "only_<column>.R@1". Every number is measured on the same
    rows, those that have all query columns, so that the differences are the columns' doing and not the rows'.
    """
    if len(vectors) < 2:
        raise ValueError(f"drop_one: got the query columns {list(vectors)}; expected at least two")
    if set(vectors) != set(present):
        raise ValueError(f"present: got {sorted(present)}; expected one mask for each of {sorted(vectors)}")
    rows = np.flatnonzero(np.logical_and.reduce([present[column] for column in vectors]))
    if len(rows) == 0:
        raise ValueError(f"no row has all of the columns {', '.join(vectors)}; drop one needs such rows")
    whole = {column: v[rows] for column, v in vectors.items()}
    keys = keys_of(meanings)
    kept = [keys[row] for row in rows]
    kept_groups = None if groups is None else np.asarray(groups)[rows]

    variants = {"all": whole}
    for dropped in whole:
        variants[f"without_{dropped}"] = {c: v for c, v in whole.items() if c != dropped}
    if len(whole) > 2:  # with two, "only" one is "without" the other
        variants |= {f"only_{column}": {column: v} for column, v in whole.items()}
    scores = {}
    for name, used in variants.items():
        asked = Embedded(fuse(used), kept, kept_groups)
        scores[f"{name}.R@{k}"] = retrieval_scores(asked, gallery, ks=(k,), seed=seed)[f"R@{k}"]
    return scores
