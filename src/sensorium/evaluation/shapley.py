"""Shapley values: what each column contributes to a score, shared out fairly.

the score of every subset of columns -> an `Estimate` a column; they sum to the score of all less that of none

Dropping one column says little where two tell the same (neither is missed) or where only both together tell
anything (each is missed as much as everything). Shapley (1953, "A value for n-person games") averages what a column
adds over every order in which the columns could have come: the one way of sharing in which columns that add the same
get the same, one that adds nothing gets nothing, and nothing is left over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from math import factorial

import numpy as np

from sensorium.evaluation.generated import LOWER, Measured
from sensorium.evaluation.repeats import Estimate, estimates, len_of, mean_over
from sensorium.evaluation.scores import RESAMPLES

MOST = 6  # columns: 64 subsets, each of which is a run over the test rows


def subsets(columns: Sequence[str]) -> list[frozenset[str]]:
    """All 2^N subsets, from none to all. Raises ValueError for more than 6 columns, or fewer than 2."""
    if not 2 <= len(columns) <= MOST or len(set(columns)) < len(columns):
        raise ValueError(
            f"Shapley values: got the columns {', '.join(columns) or 'none'}; expected 2 to {MOST} different ones "
            f"(every subset is scored, {2**MOST} of {MOST}). Join some columns, or name the ones to compare"
        )
    return [frozenset(some) for size in range(len(columns) + 1) for some in combinations(columns, size)]


def exact(worth: Mapping[frozenset[str], float]) -> dict[str, float]:
    """The Shapley value of each player of a game, from the worth of every coalition (Shapley 1953, eq. 12).

    worth: of every subset of the players, the empty one too; what that is worth is shared by nobody
    """
    players = _players(worth)
    order = subsets(players)
    values = weights_of(players, order) @ np.array([worth[some] for some in order])
    return dict(zip(players, values.tolist()))


def shapley(
    measured: Mapping[frozenset[str], Measured | Sequence[Measured]],
    groups: Sequence | np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """What each column adds to a score, with its interval over rows (and over repeated trainings).

    measured: by subset of the columns, every one of them, the metric with only these columns seen; one `Measured`, or
              one a repeat. All over the same rows: every draw of rows is the same for all subsets
    groups:   N labels; rows of one group are drawn together

    Positive is what helps, also where less is better (errors, distances). Values sum to the score of all columns less
    that of none. Raises ValueError where a subset is missing or the rows differ.
    """
    runs = {
        frozenset(some): [one] if isinstance(one, Measured) else list(one) for some, one in measured.items()
    }
    players = _players(runs)
    order = subsets(players)
    repeats = {len(run) for run in runs.values()}
    if len(repeats) != 1:
        raise ValueError(
            f"Shapley values: got {sorted(repeats)} repeats; expected as many of every subset, at least one"
        )
    n = len_of([one for run in runs.values() for one in run])
    sign = -1.0 if runs[order[0]][0].unit in LOWER else 1.0
    weights = sign * weights_of(players, order)

    def values(rows: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        return weights @ np.array([mean_over(runs[some], rows, drawn) for some in order])

    return dict(zip(players, estimates(values, n, repeats.pop(), groups, resamples, seed)))


def _players(worth: Mapping[frozenset[str], object]) -> list[str]:
    players = sorted({player for some in worth for player in some})
    if missing := [some for some in subsets(players) if some not in worth]:
        raise ValueError(
            f"Shapley values of {', '.join(players)}: got no score of {_named(missing[0])}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + f"; expected one of each of the {2 ** len(players)} subsets"
        )
    return players


def weights_of(players: Sequence[str], order: Sequence[frozenset[str]]) -> np.ndarray:
    """float[N, 2^N]: how much the worth of each subset counts for each player.

    The sum over S without i of |S|! (N - |S| - 1)! / N! (v(S and i) - v(S)), gathered by subset.
    """
    N, place = len(players), {some: number for number, some in enumerate(order)}
    weights = np.zeros((N, len(order)))
    for row, player in enumerate(players):
        for some in order:
            if player not in some:
                share = factorial(len(some)) * factorial(N - len(some) - 1) / factorial(N)
                weights[row, place[some | {player}]] += share
                weights[row, place[some]] -= share
    return weights


def _named(some: Collection[str]) -> str:
    return f"the columns {' and '.join(sorted(some))}" if some else "no column at all"
