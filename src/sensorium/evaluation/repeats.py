"""Intervals over rows and over repeated trainings at once.

a metric's `Measured`, one a training seed, over the same rows -> `Estimate`

A difference between two fusions is worth nothing if another seed turns it round, and nothing if other test rows do.
Rows (or whole groups of them) and seeds are therefore both drawn, independently, and crossed (the pigeonhole
bootstrap, Owen 2007, doi:10.1214/07-AOAS122). With S seeds the part of the variance that is the seeds' comes out
(S - 1) / S of what it is: of one seed alone the interval says nothing about training again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from sensorium.evaluation.generated import Measured
from sensorium.evaluation.scores import LEVEL, RESAMPLES


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


Draw = tuple[np.ndarray, np.ndarray]  # int64[M] rows, int64[S] seeds


def draws(
    n: int,
    repeats: int,
    groups: Sequence | np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Iterator[Draw]:
    """`resamples` draws with replacement: rows (whole groups of them, where `groups` has a label a row), and repeats.

    The same arguments give the same draws, so that whatever is measured on them can be compared draw by draw.
    """
    rng = np.random.default_rng(seed)
    if groups is None:
        for _ in range(resamples):
            yield rng.integers(0, n, n), rng.integers(0, repeats, repeats)
        return
    labels = np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(labels) != n:
        raise ValueError(f"groups: got {len(labels)} labels for {n} rows; expected one a row")
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    for _ in range(resamples):
        rows = np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))])
        yield rows, rng.integers(0, repeats, repeats)


def estimates(
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray],
    n: int,
    repeats: int,
    groups: Sequence | np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Estimate]:
    """statistic: (rows, repeats) -> float[K], on all of them and on every draw -> K estimates."""
    values = np.atleast_1d(statistic(np.arange(n), np.arange(repeats)))
    drawn = np.stack([np.atleast_1d(statistic(*draw)) for draw in draws(n, repeats, groups, resamples, seed)])
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [Estimate(float(v), float(a), float(b)) for v, a, b in zip(values, low, high)]


def mean_over(measured: Sequence[Measured], rows: np.ndarray, repeats: np.ndarray) -> float:
    """The metric over some rows, averaged over some of its repeats."""
    times = np.bincount(repeats)
    return float(
        sum(times[k] * measured[k].over(rows) for k in np.flatnonzero(times).tolist()) / len(repeats)
    )


def estimate(
    measured: Sequence[Measured],
    groups: Sequence | np.ndarray | None = None,
    less: Sequence[Measured] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The mean of a metric over its repeats.

    measured: one a repeat, over the same rows
    less:     the same rows measured otherwise (repeat by repeat): the estimate is then of `measured` - `less`, on the
              same draws, so that what both share does not widen the interval
    """
    n = len_of([*measured, *(less or ())])
    if less is not None and len(less) != len(measured):
        raise ValueError(f"less: got {len(less)} repeats beside {len(measured)}; expected as many")

    def statistic(rows: np.ndarray, repeats: np.ndarray) -> np.ndarray:
        value = mean_over(measured, rows, repeats)
        return np.array([value if less is None else value - mean_over(less, rows, repeats)])

    return estimates(statistic, n, len(measured), groups, resamples, seed)[0]


def len_of(measured: Sequence[Measured]) -> int:
    """How many rows all of these have. Raises ValueError where they differ, or when there are none."""
    lengths = {len(one) for one in measured}
    if len(lengths) != 1:
        raise ValueError(f"measured over {sorted(lengths)} rows; expected the same rows, at least once")
    return lengths.pop()
