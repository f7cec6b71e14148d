"""Retrieval between columns: R@k, median rank, MRR, with several right answers a query and honest ties.

vectors, meanings -> where the first right item stands -> Scores

Shapes: Q queries, G gallery items, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sensorium.evaluation.scores import Score, interval

# Cosines of float32 unit vectors carry rounding of about 1e-7, which depends on where an item lies in the
# matrix: two copies of one picture must count as tied all the same.
TIE = 1e-6
CHUNK_NUMBERS = 2**24  # scores held at once, 64 MB

Meanings = Sequence[Iterable] | np.ndarray


@dataclass(frozen=True)
class Embedded:
    """One column of an evaluation set.

    vectors:  float[N, D], normalised where they are used
    meanings: what each row means: N tuples of keys, or int64[N] / int64[N, K] padded with -1. Rows of two
              columns that share a meaning are right answers to each other.
    groups:   N labels of rows that are not independent, for the bootstrap; None draws single rows
    """

    vectors: np.ndarray
    meanings: Meanings
    groups: Sequence | np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.meanings):
            raise ValueError(
                f"Embedded: got vectors {self.vectors.shape} and {len(self.meanings)} meanings; "
                "expected float[N, D] and N of them"
            )

    def take(self, rows: np.ndarray) -> Embedded:
        keys = keys_of(self.meanings)
        groups = None if self.groups is None else np.asarray(self.groups)[rows]
        return Embedded(self.vectors[rows], [keys[r] for r in rows], groups)


@dataclass(frozen=True)
class Right:
    """The right gallery items of Q queries, as rows of a sparse matrix.

    columns: int64[sum of counts], gallery numbers, query after query; counts: int64[Q]
    """

    columns: np.ndarray
    counts: np.ndarray

    @classmethod
    def between(cls, queries: Meanings, gallery: Meanings) -> Right:
        """Gallery items that share at least one meaning with the query."""
        holders: dict[object, list[int]] = {}
        for item, keys in enumerate(keys_of(gallery)):
            for key in keys:
                holders.setdefault(key, []).append(item)
        found = [sorted({i for key in keys for i in holders.get(key, ())}) for keys in keys_of(queries)]
        counts = np.array([len(f) for f in found], np.int64)
        return cls(np.array([i for f in found for i in f], np.int64), counts)

    def take(self, rows: np.ndarray) -> Right:
        starts = np.cumsum(self.counts) - self.counts
        parts = [self.columns[starts[r] : starts[r] + self.counts[r]] for r in rows]
        return Right(np.concatenate(parts) if parts else self.columns[:0], self.counts[rows])


@dataclass(frozen=True)
class Ranks:
    """Where the first right item of each query stands, ties kept open.

    above:       int64[Q], wrong items that score higher than the best right one
    tied_wrong:  int64[Q], wrong items that score the same
    tied_right:  int64[Q], right items that score the same, itself included

    Every number below is the exact expectation over random orders of the tied items, so that a collapsed
    model, which gives everything the same score, gets chance: not 100 % (ties won) and not 0 % (ties lost).
    """

    above: np.ndarray
    tied_wrong: np.ndarray
    tied_right: np.ndarray

    def __len__(self) -> int:
        return len(self.above)

    def hit(self, k: int) -> np.ndarray:
        """float[Q]: probability that a right item is among the first k."""
        miss = np.ones(len(self))
        for place in range(k):  # the place-th of the tied items still lies within the first k
            within = self.above + place < k
            wrong, total = self.tied_wrong - place, self.tied_wrong + self.tied_right - place
            miss = np.where(within, miss * np.maximum(wrong, 0) / np.maximum(total, 1), miss)
        return 1.0 - miss

    def rank(self) -> np.ndarray:
        """float[Q]: expected rank of the first right item, 1 is best."""
        return self.above + 1 + self.tied_wrong / (self.tied_right + 1)

    def reciprocal(self) -> np.ndarray:
        """float[Q]: expected 1 / rank."""
        rows = np.stack([self.above, self.tied_wrong, self.tied_right])
        kinds, which = np.unique(rows, axis=1, return_inverse=True)
        value = np.empty(kinds.shape[1])
        for n, (above, wrong, right) in enumerate(kinds.T):
            survives = _survival(int(wrong), int(right))
            value[n] = (-np.diff(survives) / (above + np.arange(1, len(survives)))).sum()
        return value[which]


def _survival(wrong: int, right: int) -> np.ndarray:
    """P(the first j of wrong + right shuffled items are all wrong), j = 0 … wrong + 1."""
    j = np.arange(wrong + 1)
    return np.concatenate([[1.0], np.cumprod((wrong - j) / (wrong + right - j))])


def ranks_of_scores(scores: np.ndarray, right: Right) -> Ranks:
    """float[Q, G] scores, higher is better -> `Ranks`. Every query needs at least one right item."""
    if (right.counts == 0).any():
        row = int(np.flatnonzero(right.counts == 0)[0])
        raise ValueError(
            f"query {row} has no right item in the gallery; leave out queries that cannot be answered"
        )
    rows = np.repeat(np.arange(len(scores)), right.counts)
    starts = np.cumsum(right.counts) - right.counts
    of_right = scores[rows, right.columns]
    best = np.maximum.reduceat(of_right, starts)
    above = (scores > best[:, None] + TIE).sum(1)
    tied = (scores >= best[:, None] - TIE).sum(1) - above
    tied_right = np.add.reduceat((of_right >= best[rows] - TIE).astype(np.int64), starts)
    return Ranks(above, tied - tied_right, tied_right)


def ranks(queries: np.ndarray, gallery: np.ndarray, rights: Sequence[Right]) -> list[Ranks]:
    """Cosine ranks of float[Q, D] against float[G, D] for one or several assignments of right answers.

    The score matrix is made a slice of queries at a time, once for all assignments.
    """
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"queries are {queries.shape[1]} wide, the gallery {gallery.shape[1]}; expected one space"
        )
    queries, gallery = unit(queries), unit(gallery)
    chunk = max(1, CHUNK_NUMBERS // max(1, len(gallery)))
    parts: list[list[Ranks]] = [[] for _ in rights]
    for start in range(0, len(queries), chunk):
        rows = np.arange(start, min(start + chunk, len(queries)))
        scores = queries[rows] @ gallery.T
        for part, right in zip(parts, rights):
            part.append(ranks_of_scores(scores, right.take(rows)))
    names = ("above", "tied_wrong", "tied_right")
    return [Ranks(*(np.concatenate([getattr(r, n) for r in part]) for n in names)) for part in parts]


def retrieval_scores(
    queries: Embedded, gallery: Embedded, ks: Sequence[int] = (1, 5, 10), shuffles: int = 5, seed: int = 0
) -> dict[str, Score]:
    """R@k, median rank and MRR of finding, for each query, any gallery item that shares a meaning.

    Queries to which the gallery holds no right answer are left out; `n` counts the rest. The blind baseline
    gives each query's answer the vector of another query, `shuffles` times.
    """
    right = Right.between(queries.meanings, gallery.meanings)
    answerable = np.flatnonzero(right.counts)
    if len(answerable) == 0:
        raise ValueError(
            "no query shares a meaning with any gallery item; check the meanings of both columns"
        )
    queries, right = queries.take(answerable), right.take(answerable)
    rng = np.random.default_rng(seed)
    shuffled = [right.take(rng.permutation(len(answerable))) for _ in range(shuffles)]
    true, *blind = ranks(queries.vectors, gallery.vectors, [right, *shuffled])
    wrong = len(gallery.vectors) - right.counts
    chance = Ranks(np.zeros_like(wrong), wrong, right.counts)

    def score(values: np.ndarray, of_blind: list[np.ndarray], of_chance: np.ndarray) -> Score:
        low, high = interval(values, groups=queries.groups, seed=seed)
        blind_mean = float(np.mean([b.mean() for b in of_blind]))
        return Score(float(values.mean()), low, high, blind_mean, len(values), float(of_chance.mean()))

    scores = {f"R@{k}": score(true.hit(k), [b.hit(k) for b in blind], chance.hit(k)) for k in ks}
    scores["MRR"] = score(true.reciprocal(), [b.reciprocal() for b in blind], chance.reciprocal())
    place = true.rank()
    low, high = interval(place, lambda rows: float(np.median(place[rows])), queries.groups, seed=seed)
    blind_median = float(np.mean([np.median(b.rank()) for b in blind]))
    scores["median_rank"] = Score(
        float(np.median(place)), low, high, blind_median, len(place), _chance_median(chance), unit="rank"
    )
    return scores


def _chance_median(chance: Ranks) -> float:
    """The median rank of a random ordering: the first k by which half of the queries should be answered."""
    counts, queries = np.unique(np.stack([chance.tied_wrong, chance.tied_right]), axis=1, return_counts=True)
    longest = int(counts[0].max()) + 2
    unanswered = np.zeros(longest)
    for (wrong, right), share in zip(counts.T, queries / queries.sum()):
        survives = _survival(int(wrong), int(right))
        unanswered[: len(survives)] += share * survives
    return float(np.argmax(unanswered <= 0.5 + 1e-12))


def between(columns: Mapping[str, Embedded], seed: int = 0, **options: object) -> dict[str, Score]:
    """Both ways between every pair of columns that share a meaning: `{"text_to_image.R@1": Score, …}`.

    `options` go to `retrieval_scores`.
    """
    scores: dict[str, Score] = {}
    for source, queries in columns.items():
        for target, gallery in columns.items():
            if source == target or not Right.between(queries.meanings, gallery.meanings).counts.any():
                continue
            found = retrieval_scores(queries, gallery, seed=seed, **options)  # type: ignore[arg-type]
            scores |= {f"{source}_to_{target}.{name}": score for name, score in found.items()}
    return scores


def keys_of(meanings: Meanings) -> list[tuple]:
    """Meanings in any accepted form -> one tuple of keys a row."""
    if isinstance(meanings, np.ndarray):
        table = meanings[:, None] if meanings.ndim == 1 else meanings
        return [tuple(int(key) for key in row if key >= 0) for row in table]
    for row in meanings:
        if isinstance(row, str):
            raise ValueError(
                f"meanings: got the string {row!r} for a row; expected a tuple of keys, ({row!r},)"
            )
    return [tuple(row) for row in meanings]


def unit(vectors: np.ndarray) -> np.ndarray:
    """float[N, D] scaled to length one, float32; a zero vector stays zero, equally near to all."""
    vectors = np.asarray(vectors, np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
        raise ValueError(f"vector {row} holds NaN or infinity; the model that made it has diverged")
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
