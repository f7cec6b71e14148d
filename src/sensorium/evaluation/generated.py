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
    copy_margin:      the same over the copy, with its interval copy_margin_low, copy_margin_high
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
    copy_margin: float | None = None
    copy_margin_low: float | None = None
    copy_margin_high: float | None = None
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

    @property
    def beats_copy(self) -> bool | None:
        """Whether this was shown to be better than the copy: the interval of that margin lies above zero."""
        return None if self.copy_margin_low is None else self.copy_margin_low > 0

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
    margins: dict[str, float | str] = {}
    if numbers:
        sign = -1.0 if measured.unit in LOWER else 1.0
        best = max(numbers, key=lambda name: sign * numbers[name])
        margins |= margin(measured, blind[best], groups, resamples, seed).named("margin")
        margins["margin_over"] = best
    if baselines.copy is not None:
        margins |= margin(measured, [baselines.copy], groups, resamples, seed).named("copy_margin")
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
        **margins,  # type: ignore[arg-type]
    )


@dataclass(frozen=True)
class Margin:
    """By how much one is better than another on the same items, positive where it is, with its 95 % interval."""

    value: float
    low: float
    high: float

    def named(self, name: str) -> dict[str, float]:
        """As fields of `GeneratedScore`."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def margin(
    measured: Measured,
    others: Sequence[Measured],
    groups: Sequence | np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Margin:
    """How much better `measured` is than the mean of `others`, all measured on the same draws of items.

    groups: a label for each row of `measured`, as for `interval`
    """
    sign = -1.0 if measured.unit in LOWER else 1.0

    def over(rows: np.ndarray) -> float:
        return sign * (measured.over(rows) - _mean_over(others, rows))

    return Margin(over(np.arange(len(measured))), *interval(measured.values, over, groups, resamples, seed))


def _mean_over(runs: Sequence[Measured], rows: np.ndarray) -> float:
    return float(np.mean([run.over(rows) for run in runs]))


def table(
    scores: Mapping[str, GeneratedScore], title: str = "Generated text", console: Console | None = None
) -> None:
    """Print scores beside their baselines, one row a score; fractions and errors in percent.

    `=` marks a value that was not shown to be better than its blind baselines, or a margin that was not shown
    to be one over the copy. A copy in yellow is at least as good as the model. Columns that no row has are left
    out.
    """
    shown_baselines = [
        name for name in BASELINES if any(getattr(s, name) is not None for s in scores.values())
    ]
    grid = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None)
    grid.add_column("score", overflow="fold")
    headings = [name.removeprefix("blind_").replace("_", " ") for name in shown_baselines]
    margins = {"over blind": margin_text}
    if any(score.copy_margin is not None for score in scores.values()):
        margins["over copy"] = copy_margin_text
    for heading in ("value", "95 % interval", *headings, *(f"margin {over}" for over in margins), "n"):
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
        cells += [text_of(score) for text_of in margins.values()]
        grid.add_row(name, *cells, f"{score.n:,}")
    console = console or Console()
    if not console.is_terminal:  # a pipe or a log has no width, and 80 columns would fold the names
        console = Console(file=console.file, width=160)
    console.print(grid)
    for note in dict.fromkeys(score.note for score in scores.values() if score.note):
        console.print(note, style="dim", highlight=False)


def margin_text(score: GeneratedScore) -> str:
    """ "+12.3 (8.1 … 16.4)", or a dash."""
    return _margin_text(score, score.margin, score.margin_low, score.margin_high)


def copy_margin_text(score: GeneratedScore) -> str:
    """As `margin_text`; "= +1.2 (-0.8 … 3.1)" where it was not shown to be one."""
    text = _margin_text(score, score.copy_margin, score.copy_margin_low, score.copy_margin_high)
    return f"= {text}" if score.beats_copy is False else text


def _margin_text(score: GeneratedScore, value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return "–"
    number = shown(score, value)
    return f"{'' if number.startswith('-') else '+'}{number} ({shown(score, low)} … {shown(score, high)})"


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
