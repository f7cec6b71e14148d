"""`GeneratedScore`: a number on text that a model wrote, with what it would get without looking.

texts -> a scorer (answers.py, captions.py, transcription.py) -> {name: Measured} -> GeneratedScore

A language model answers fluently from the question alone, so every score stands beside the same model with
its media withheld and with another item's media, beside the most frequent answer, and beside the answer of
the nearest training item. blind.py makes those answers and joins the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from sensorium.evaluation.scores import RESAMPLES, Score, interval

UNITS = ("fraction", "error", "points", "distance")
LOWER = ("error", "distance")  # units of which less is better
BLIND = ("blind_withheld", "blind_shuffled", "majority")
BASELINES = (*BLIND, "copy", "names_only")


@dataclass(frozen=True)
class Measured:
    """One metric of a set of texts, item by item, so that it can be measured again on any draw of the items.

    values:    float[N], each item's own number
    statistic: int64[M] rows of `values` -> the metric of those rows; None is the mean of `values`, anything
               else is for metrics of a whole set (BLEU, METEOR, WER) that are no mean over items
    rows:      int64[N], which items of the evaluation these are; None is all of them
    unit:      "fraction" (higher is better), "error" (a fraction, lower is better, may pass 1), "points"
               (higher is better, not a fraction: CIDEr) or "distance" (lower is better, no fraction: how far a
               number is off, in the unit of the answers)
    note:      how it was measured, where that must be said beside the number
    """

    values: np.ndarray
    statistic: Callable[[np.ndarray], float] | None = None
    rows: np.ndarray | None = None
    unit: str = "fraction"
    note: str = ""

    def __len__(self) -> int:
        return len(self.values)

    def over(self, drawn: np.ndarray) -> float:
        """The metric over some of the rows, int64[M] in [0, N)."""
        return float(self.values[drawn].mean()) if self.statistic is None else self.statistic(drawn)

    @property
    def value(self) -> float:
        return self.over(np.arange(len(self)))


Scorer = Callable[[Sequence[str]], dict[str, Measured]]


@dataclass(frozen=True)
class GeneratedScore:
    """One measured number on generated text. A baseline that was not run is None.

    value, low, high: what was measured, and its 95 % bootstrap interval over items
    n:                number of items
    blind_withheld:   the same model, the media taken out of every conversation
    blind_shuffled:   the same model, every item with the media of another
    majority:         the most frequent training answer to that kind of question
    copy:             the answer of the nearest training item: sees, but cannot speak
    names_only:       spatial questions: one that names as well as this model does and is blind to place
    margin:           by how much the value is better than the best of the blind (the first three), positive
                      where it is better; margin_low, margin_high: its interval, both measured on the same
                      draws of items; margin_over: which of the blind that is
    unit:             "fraction", "error" (lower is better), "points" or "distance" (lower is better)
    note:             how it was measured, where that must be said
    """

    value: float
    low: float
    high: float
    n: int
    blind_withheld: float | None = None
    blind_shuffled: float | None = None
    majority: float | None = None
    copy: float | None = None
    names_only: float | None = None
    margin: float | None = None
    margin_low: float | None = None
    margin_high: float | None = None
    margin_over: str | None = None
    unit: str = "fraction"
    note: str = ""

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit: got {self.unit!r}, expected one of {', '.join(UNITS)}")

    def better_than(self, other: float) -> bool:
        """Whether the value lies on the good side of `other` (lower for errors and distances, higher for the rest)."""
        return self.value < other if self.unit in LOWER else self.value > other

    @property
    def clears(self) -> bool | None:
        """Whether this was shown to be better than every blind number; None where none was measured.

        The interval must lie on the good side of each blind number (of `names_only` too), and the interval
        of the margin above zero.
        """
        blind = [b for b in (*(getattr(self, name) for name in BLIND), self.names_only) if b is not None]
        if not blind:
            return None
        beyond = self.high < min(blind) if self.unit in LOWER else self.low > max(blind)
        return beyond and (self.margin_low is None or self.margin_low > 0)

    def as_dict(self) -> dict[str, float | int | str | None]:
        """One entry of metrics.json."""
        return asdict(self)


@dataclass(frozen=True)
class Baselines:
    """The same metric of baselines on the same items, for `score_of`. Several shuffles are averaged."""

    blind_withheld: Measured | None = None
    blind_shuffled: Sequence[Measured] = ()
    majority: Measured | None = None
    copy: Measured | None = None
    names_only: float | None = None

    def blind(self) -> dict[str, Sequence[Measured]]:
        """Those that do not see, of those that were run."""
        runs = {
            "blind_withheld": [self.blind_withheld] if self.blind_withheld else [],
            "blind_shuffled": self.blind_shuffled,
            "majority": [self.majority] if self.majority else [],
        }
        return {name: run for name, run in runs.items() if run}


def score_of(
    measured: Measured,
    baselines: Baselines | None = None,
    groups: Sequence | np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> GeneratedScore:
    """A metric with its interval, its baselines, and its margin over the best of the blind.

    groups: a label for each item of the evaluation; items with the same one (questions about one picture)
            are drawn together
    """
    baselines = baselines or Baselines()
    if groups is not None and measured.rows is not None:
        groups = np.asarray(groups)[measured.rows]
    everything = np.arange(len(measured))
    value = measured.over(everything)
    low, high = interval(measured.values, measured.statistic, groups, resamples, seed)
    blind = baselines.blind()
    numbers = {name: _mean_over(runs, everything) for name, runs in blind.items()}
    margin: dict[str, float | str] = {}
    if numbers:
        sign = -1.0 if measured.unit in LOWER else 1.0
        best = max(numbers, key=lambda name: sign * numbers[name])
        margin_low, margin_high = interval(
            measured.values,
            lambda rows: sign * (measured.over(rows) - _mean_over(blind[best], rows)),
            groups,
            resamples,
            seed,
        )
        margin = {
            "margin": sign * (value - numbers[best]),
            "margin_low": margin_low,
            "margin_high": margin_high,
            "margin_over": best,
        }
    return GeneratedScore(
        value,
        low,
        high,
        len(measured),
        copy=baselines.copy.value if baselines.copy else None,
        names_only=baselines.names_only,
        unit=measured.unit,
        note=measured.note,
        **numbers,  # type: ignore[arg-type]
        **margin,  # type: ignore[arg-type]
    )


def _mean_over(runs: Sequence[Measured], rows: np.ndarray) -> float:
    return float(np.mean([run.over(rows) for run in runs]))


def table(
    scores: Mapping[str, GeneratedScore], title: str = "Generated text", console: Console | None = None
) -> None:
    """Print scores beside their baselines, one row a score; fractions and errors in percent.

    `=` marks a value that was not shown to be better than its blind baselines. A copy in yellow is at least
    as good as the model. Baselines that no row has are left out.
    """
    shown_baselines = [
        name for name in BASELINES if any(getattr(s, name) is not None for s in scores.values())
    ]
    grid = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None)
    grid.add_column("score", overflow="fold")
    headings = [name.removeprefix("blind_").replace("_", " ") for name in shown_baselines]
    for heading in ("value", "95 % interval", *headings, "margin over blind", "n"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for name, score in scores.items():
        value = shown(score, score.value) + (" ↓" if score.unit in LOWER else "")
        cells = [f"= {value}" if score.clears is False else f"[bold]{value}[/]"]
        cells.append(f"{shown(score, score.low)} … {shown(score, score.high)}")
        for baseline in shown_baselines:
            number = getattr(score, baseline)
            text = "–" if number is None else shown(score, number)
            beaten = number is None or baseline != "copy" or score.better_than(number)
            cells.append(text if beaten else f"[yellow]{text}[/]")
        cells.append(margin_text(score))
        grid.add_row(name, *cells, f"{score.n:,}")
    console = console or Console()
    if not console.is_terminal:  # a pipe or a log has no width, and 80 columns would fold the names
        console = Console(file=console.file, width=160)
    console.print(grid)
    for note in dict.fromkeys(score.note for score in scores.values() if score.note):
        console.print(note, style="dim", highlight=False)


def margin_text(score: GeneratedScore) -> str:
    """ "+12.3 (8.1 … 16.4)", or a dash."""
    if score.margin is None or score.margin_low is None or score.margin_high is None:
        return "–"
    number, low, high = (shown(score, m) for m in (score.margin, score.margin_low, score.margin_high))
    return f"{'' if number.startswith('-') else '+'}{number} ({low} … {high})"


def shown(score: GeneratedScore, number: float) -> str:
    """A number of this score as people read it: percent for fractions and errors, points and distances as is."""
    return f"{number:.2f}" if score.unit in ("points", "distance") else f"{100 * number:.1f}"


def from_entry(entry: Mapping[str, object]) -> Score | GeneratedScore:
    """One entry of metrics.json back as what it was: the keys tell which of the two."""
    kind = GeneratedScore if "blind_withheld" in entry else Score
    return kind(**entry)  # type: ignore[arg-type]


def load(path: str | Path) -> dict[str, Score | GeneratedScore]:
    """Read a metrics.json that holds scores of either kind."""
    entries = json.loads(Path(path).read_text("utf-8"))
    return {name: from_entry(entry) for name, entry in entries.items()}


def one_each(what: str, given: Sequence[str] | None, wanted: int, of: str) -> Sequence[str] | None:
    """`given` as it is, when it holds `wanted` texts."""
    if given is not None and (isinstance(given, str) or len(given) != wanted):
        got = "one string" if isinstance(given, str) else str(len(given))
        raise ValueError(f"{what}: got {got}; expected {wanted}, one for each {of}")
    return given
