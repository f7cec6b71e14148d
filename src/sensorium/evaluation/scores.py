"""`Score`: a number that never stands alone, with its interval, its blind baseline and its chance level.

per-query values -> bootstrap -> Score -> printed table | metrics.json
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from rich.console import Console
from rich.table import Table

LEVEL = 0.95
RESAMPLES = 1000


@dataclass(frozen=True)
class Score:
    """One measured number of an evaluation.

    value:       what was measured, a fraction in [0, 1] or a rank (see `unit`)
    low, high:   bounds of its 95 % bootstrap interval over queries
    blind:       the same evaluation with the media shuffled among the queries, averaged over several seeds
    n:           number of queries
    chance:      what a random ordering gets, computed, not simulated
    closed_form: the same score of the closed-form aligner on the same features, where there is one
    unit:        "fraction" (higher is better) or "rank" (1 is best)
    """

    value: float
    low: float
    high: float
    blind: float
    n: int
    chance: float
    closed_form: float | None = None
    unit: str = "fraction"

    def __post_init__(self) -> None:
        if self.unit not in ("fraction", "rank"):
            raise ValueError(f'unit: got {self.unit!r}, expected "fraction" or "rank"')

    def beside(self, closed_form: Score | float) -> Score:
        """This score with the closed-form baseline's written beside it."""
        number = closed_form.value if isinstance(closed_form, Score) else closed_form
        return replace(self, closed_form=float(number))

    def better_than(self, other: float) -> bool:
        """Whether the value lies on the good side of `other` (higher for fractions, lower for ranks)."""
        return self.value > other if self.unit == "fraction" else self.value < other

    def as_dict(self) -> dict[str, float | int | str | None]:
        """One entry of metrics.json."""
        return asdict(self)


def beside(scores: Mapping[str, Score], closed_form: Mapping[str, Score]) -> dict[str, Score]:
    """Scores with the closed form's of the same name beside them, where that has one."""
    return {
        name: score.beside(closed_form[name]) if name in closed_form else score
        for name, score in scores.items()
    }


def prefixed(prefix: str, scores: Mapping[str, Score]) -> dict[str, Score]:
    """`{"R@1": …}` -> `{"emoji.unseen_artist.R@1": …}`."""
    return {f"{prefix}.{name}": score for name, score in scores.items()}


def interval(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], float] | None = None,
    groups: Sequence | np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile-bootstrap interval of a statistic over queries (Efron & Tibshirani 1993, ch. 13).

    values:    float[N], one number a query
    statistic: int64[M] row numbers -> float; the mean of `values` over those rows by default
    groups:    N labels; whole groups are drawn instead of rows when rows are not independent (drawings of the
               same thing, sentences of the same speaker); the interval is then as wide as the groups make it

    Where every value is 0 (or every value is 1) resampling says "no doubt at all"; the exact binomial bound
    (Clopper & Pearson 1934) over the independent units is given instead.
    """
    if len(values) == 0:
        raise ValueError("interval: got no values; expected at least one query")
    rng = np.random.default_rng(seed)
    measure = statistic or (lambda rows: float(values[rows].mean()))
    if groups is None:
        units = len(values)
        draws = (rng.integers(0, units, units) for _ in range(resamples))
    else:
        if len(groups) != len(values):
            raise ValueError(
                f"groups: got {len(groups)} labels for {len(values)} values; expected one a value"
            )
        _, inverse = np.unique(np.asarray(groups), return_inverse=True)
        members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
        units = len(members)
        draws = (
            np.concatenate([members[g] for g in rng.integers(0, units, units)]) for _ in range(resamples)
        )
    tail = (1 - LEVEL) / 2
    if statistic is None and values[0] in (0, 1) and (values == values[0]).all():
        bound = tail ** (1 / units)
        return (0.0, 1 - bound) if values[0] == 0 else (bound, 1.0)
    low, high = np.quantile([measure(rows) for rows in draws], [tail, 1 - tail])
    return float(low), float(high)


def table(scores: Mapping[str, Score], title: str = "Scores", console: Console | None = None) -> None:
    """Print scores beside their intervals and baselines, one row a score, fractions in percent.

    A value whose interval does not clear the blind baseline is marked `=`: nothing was shown to be learned.
    """
    grid = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None)
    grid.add_column("score", overflow="fold")
    for heading in ("value", "95 % interval", "blind", "chance", "closed form", "n"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for name, score in scores.items():
        clears = score.low > score.blind if score.unit == "fraction" else score.high < score.blind
        closed = "–" if score.closed_form is None else shown(score, score.closed_form)
        worse = score.closed_form is not None and not score.better_than(score.closed_form)
        grid.add_row(
            name,
            f"[bold]{shown(score, score.value)}[/]" if clears else f"= {shown(score, score.value)}",
            f"{shown(score, score.low)} … {shown(score, score.high)}",
            shown(score, score.blind),
            shown(score, score.chance),
            f"[yellow]{closed}[/]" if worse and score.value != score.closed_form else closed,
            f"{score.n:,}",
        )
    console = console or Console()
    if not console.is_terminal:  # a pipe or a log has no width, and 80 columns would fold the names
        console = Console(file=console.file, width=140)
    console.print(grid)


def shown(score: Score, number: float) -> str:
    """A number of this score as people read it: percent for fractions, the plain number for ranks."""
    return f"{100 * number:.1f}" if score.unit == "fraction" else f"{number:,.1f}"


class Entry(Protocol):
    """What metrics.json takes: a `Score`, or a `GeneratedScore`."""

    def as_dict(self) -> dict[str, float | int | str | None]: ...


def save(path: str | Path, scores: Mapping[str, Entry]) -> None:
    """Write metrics.json: one flat object, name -> entry, replaced atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.part")
    entries = {name: score.as_dict() for name, score in scores.items()}
    fresh.write_text(json.dumps(entries, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    fresh.replace(path)


def load(path: str | Path) -> dict[str, Score]:
    """Read what `save` wrote."""
    return {name: Score(**entry) for name, entry in json.loads(Path(path).read_text("utf-8")).items()}
