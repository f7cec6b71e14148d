"""Ways of fusing side by side: one figure with scores, what a missing column costs, and what each column adds.

Compared -> PNG, SVG

    left    the score of every kind with its interval, of the single columns below, and the lines that matter
    beside  parameters, step time
    middle  what each missing column costs at test time
    right   Shapley values of the columns
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

INK, SOFT, LINE = "#1b1d22", "#686d78", "#dcdee2"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # Okabe & Ito 2008, by column
LIGHT = COLOURS[1], COLOURS[4]  # dark letters stand on these
FONTS = ("Noto Sans", "Liberation Sans", "Arial", "DejaVu Sans")
LOWER, PLAIN = ("error", "distance"), ("points", "distance")  # units: less is better; not shown in percent
ROW, TOP, BOTTOM = 0.34, 0.62, 1.12  # inches: a row, above the axes, below them


class EstimateLike(Protocol):
    """What is drawn of an `Estimate` (see sensorium.evaluation.repeats)."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Way:
    """One way of answering, trained once a seed.

    name:       of the kind of fusion, or of the column where there is only one
    score:      over rows and seeds
    parameters: trained ones
    step:       time of a training step as a multiple of concatenation's, None where it was not measured
    gain:       score less that of the best single column, positive where better
    missing:    by condition ("text": without this column, "half": each left out by a coin), the score under it
    costs:      by the same, how much worse than with all
    shapley:    by column, what it adds
    metrics:    every metric's mean over seeds
    """

    name: str
    score: EstimateLike
    parameters: int
    step: float | None = None
    gain: EstimateLike | None = None
    missing: Mapping[str, EstimateLike] = field(default_factory=dict)
    costs: Mapping[str, EstimateLike] = field(default_factory=dict)
    shapley: Mapping[str, EstimateLike] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """Everything that the table and the figure say.

    columns:  of the task
    kinds:    fusions of all columns
    dropped:  the same, trained with modality dropout; empty when that was not asked for
    singles:  one column alone
    majority: the score of the commonest training answer
    ceiling:  the best score that any single column allows, by construction of a puzzle
    unit:     of the metric, as in `GeneratedScore`
    about:    what the budget was, for the note below
    """

    task: str
    metric: str
    columns: Sequence[str]
    kinds: Sequence[Way]
    dropped: Sequence[Way] = ()
    singles: Sequence[Way] = ()
    majority: float | None = None
    ceiling: float | None = None
    unit: str = "fraction"
    about: str = ""

    def ranked(self) -> list[Way]:
        """The kinds, the best first."""
        return sorted(self.kinds, key=lambda way: way.score.value, reverse=self.unit not in LOWER)

    def with_dropout(self, name: str) -> Way | None:
        return next((way for way in self.dropped if way.name == name), None)

    @property
    def best_single(self) -> Way | None:
        best = min if self.unit in LOWER else max
        return best(self.singles, key=lambda way: way.score.value, default=None)

    @property
    def scale(self) -> float:
        """What numbers are shown times: 100 for percent."""
        return 1.0 if self.unit in PLAIN else 100.0


def save(folder: str | os.PathLike, compared: Compared, dpi: int = 200) -> list[Path]:
    """Draw FOLDER/comparison.png and .svg; letters stay letters in the SVG. Raises ValueError without kinds."""
    figure = draw(compared)
    paths = [Path(folder) / f"comparison.{kind}" for kind in ("png", "svg")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": "comparison"}):
            figure.savefig(path, dpi=dpi, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths


def draw(compared: Compared) -> Figure:
    """The figure; kinds by score, the best on top."""
    if not compared.kinds:
        raise ValueError("compared: got no kinds of fusion; expected at least one to draw")
    installed = {font.name for font in font_manager.fontManager.ttflist}
    with rc_context({"font.family": [name for name in FONTS if name in installed], "font.size": 8.5}):
        return _drawn(compared)


def _drawn(compared: Compared) -> Figure:
    ways = compared.ranked()
    gap = 0.5 if compared.singles else 0.0
    places = {way.name: float(n) for n, way in enumerate(ways)}
    below = {way.name: len(ways) + gap + n for n, way in enumerate(compared.singles)}
    rows = len(ways) + gap + len(compared.singles)
    shown_missing = any(way.costs for way in ways)
    height = TOP + BOTTOM + ROW * rows
    figure = Figure(figsize=(11.6 if shown_missing else 6.4, height), facecolor="white")
    FigureCanvasAgg(figure)
    bottom, tall = BOTTOM / height, ROW * rows / height
    left, wide = (0.135, 0.30) if shown_missing else (0.24, 0.50)
    scores = figure.add_axes((left, bottom, wide, tall))
    limits = (rows - 0.5, -0.5)
    _scores(scores, compared, places, below)
    _facts(scores, compared, places, below)
    panels = [(scores, f"{compared.task}: {compared.metric.replace('_', ' ')}")]
    if shown_missing:
        costs = figure.add_axes((0.565, bottom, 0.205, tall))
        shares = figure.add_axes((0.80, bottom, 0.19, tall))
        _costs(costs, compared, places)
        _shares(shares, compared, places)
        panels += [
            (costs, "cost of a column missing at test time"),
            (shares, "what each column adds (Shapley)"),
        ]
        for panel in (costs, shares):
            panel.set_yticks([])
    for letter, (panel, title) in zip("abc", panels):
        panel.set_ylim(limits)
        panel.tick_params(length=0, labelcolor=INK)
        panel.grid(axis="x", color=LINE, lw=0.7)
        panel.set_axisbelow(True)
        for side in ("top", "right", "left"):
            panel.spines[side].set_visible(False)
        panel.spines["bottom"].set_color(LINE)
        panel.text(0, 1 + 0.16 / (ROW * rows), f"{letter}  {title}" if shown_missing else title,
                   transform=panel.transAxes, va="bottom", color=INK, weight="bold")  # fmt: skip
    _legend(figure, compared, height)
    return figure


def _scores(axes: Axes, compared: Compared, places: Mapping[str, float], below: Mapping[str, float]) -> None:
    scale, several = compared.scale, bool(compared.dropped)
    for way in compared.ranked():
        _dot(axes, way.score, places[way.name] - 0.13 * several, scale, INK, filled=True)
        if dropped := compared.with_dropout(way.name):
            _dot(axes, dropped.score, places[way.name] + 0.17, scale, SOFT, filled=False)
    for way in compared.singles:
        colour = _colour(compared, way.name)
        _dot(axes, way.score, below[way.name], scale, colour, filled=True)
    for value, style in ((compared.majority, (0, (1, 1.6))), (compared.ceiling, (0, (5, 2)))):
        if value is not None:
            axes.axvline(scale * value, color=SOFT, lw=1.1, ls=style, zorder=1)
    if (best := compared.best_single) is not None:
        axes.axvline(scale * best.score.value, color=_colour(compared, best.name), lw=1.1, zorder=1)
    axes.set_yticks(
        [*places.values(), *below.values()],
        [name.replace("_", " ") for name in places] + [f"{name} alone" for name in below],
    )
    for label, name in zip(axes.get_yticklabels()[len(places) :], below):
        label.set_color(_colour(compared, name))
    arrow = "less is better" if compared.unit in LOWER else ""
    unit = "" if compared.unit in PLAIN else "%"
    axes.set_xlabel(", ".join(word for word in (unit, arrow) if word), color=SOFT)


def _dot(axes: Axes, score: EstimateLike, y: float, scale: float, colour: str, filled: bool) -> None:
    axes.plot([scale * score.low, scale * score.high], [y, y], color=colour, lw=1.3, zorder=3)
    face = colour if filled else "white"
    axes.plot([scale * score.value], [y], "o", ms=4.6 if filled else 4.0, mfc=face, mec=colour, zorder=4)


def _facts(axes: Axes, compared: Compared, places: Mapping[str, float], below: Mapping[str, float]) -> None:
    """Parameters and step time, as text to the right of the scores."""
    ways = [(way, places[way.name]) for way in compared.kinds]
    ways += [(way, below[way.name]) for way in compared.singles]
    headings = [(1.15, "trained\nparameters")]
    if any(way.step is not None for way, _ in ways):
        headings.append((1.32, "step\ntime"))
    lift = axes.get_position().height
    for x, heading in headings:
        axes.text(x, 1.0 + 0.012 / lift, heading, transform=axes.transAxes, ha="right", va="bottom",
                  size=7.5, color=SOFT, linespacing=1.05)  # fmt: skip
    place = axes.get_yaxis_transform()
    for way, y in ways:
        axes.text(
            1.15, y, short(way.parameters), transform=place, ha="right", va="center", size=7.5, color=INK
        )
        if way.step is not None:
            axes.text(
                1.32, y, f"×{way.step:.2f}", transform=place, ha="right", va="center", size=7.5, color=INK
            )


def _costs(axes: Axes, compared: Compared, places: Mapping[str, float]) -> None:
    """A bar a missing column; a ring where modality dropout brought it to."""
    conditions = [
        name for name in (*compared.columns, "half") if any(name in w.costs for w in compared.kinds)
    ]
    thick = 0.78 / len(conditions)
    for way in compared.ranked():
        dropped = compared.with_dropout(way.name)
        for n, name in enumerate(conditions):
            y = places[way.name] + (n - (len(conditions) - 1) / 2) * thick
            cost, colour = way.costs[name], _colour(compared, name)
            axes.barh(y, compared.scale * cost.value, thick * 0.86, color=colour, zorder=2)
            whisker = [compared.scale * cost.low, compared.scale * cost.high]
            axes.plot(whisker, [y, y], color=INK, lw=0.7, zorder=3)
            if dropped is not None:
                value = compared.scale * dropped.costs[name].value
                axes.plot([value], [y], "o", ms=3.2, mfc="white", mec=INK, mew=0.8, zorder=4)
    axes.axvline(0, color=SOFT, lw=0.8)
    axes.set_xlabel("points lost" if compared.unit not in PLAIN else "lost", color=SOFT)


def _shares(axes: Axes, compared: Compared, places: Mapping[str, float]) -> None:
    """Shapley values, stacked; negative ones to the left of zero."""
    for way in compared.ranked():
        ahead = back = 0.0
        for column in compared.columns:
            if column not in way.shapley:
                continue
            value = compared.scale * way.shapley[column].value
            left = ahead if value >= 0 else back
            axes.barh(
                places[way.name], value, 0.62, left=left, color=_colour(compared, column), zorder=2,
                edgecolor="white", lw=0.8,
            )  # fmt: skip
            if abs(value) > 0.12 * _longest(compared):
                axes.text(
                    left + value / 2, places[way.name], f"{value:.3g}" if abs(value) < 1 else f"{value:.0f}",
                    ha="center", va="center", size=6.8, zorder=5,
                    color=INK if _colour(compared, column) in LIGHT else "white",
                )  # fmt: skip
            ahead, back = (ahead + value, back) if value >= 0 else (ahead, back + value)
    axes.axvline(0, color=SOFT, lw=0.8)
    axes.set_xlabel(
        "points over no column at all" if compared.unit not in PLAIN else "better than none", color=SOFT
    )


def _longest(compared: Compared) -> float:
    """The widest stack of Shapley values."""
    stacks = [sum(abs(one.value) for one in way.shapley.values()) for way in compared.kinds]
    return compared.scale * max([*stacks, 1e-9])


def _legend(figure: Figure, compared: Compared, height: float) -> None:
    marks = [Line2D([], [], color=INK, marker="o", ms=4.6, lw=1.3, label="score, 95 % over rows and seeds")]
    if compared.dropped:
        marks.append(Line2D([], [], color=SOFT, marker="o", ms=4, mfc="white", lw=1.3,
                            label="trained with modality dropout"))  # fmt: skip
    if compared.majority is not None:
        marks.append(Line2D([], [], color=SOFT, lw=1.1, ls=(0, (1, 1.6)), label="majority answer"))
    if compared.ceiling is not None:
        marks.append(
            Line2D(
                [],
                [],
                color=SOFT,
                lw=1.1,
                ls=(0, (5, 2)),
                label="most that one column allows, by construction",
            )
        )
    if (best := compared.best_single) is not None:
        marks.append(
            Line2D(
                [], [], color=_colour(compared, best.name), lw=1.1, label=f"best column alone: {best.name}"
            )
        )
    figure.legend(handles=marks, loc="lower left", bbox_to_anchor=(0.01, 0.30 / height), ncols=len(marks),
                  frameon=False, fontsize=7.5, handlelength=2.2, columnspacing=1.4, labelcolor=INK)  # fmt: skip
    if any(way.costs for way in compared.kinds):
        patches = [Patch(color=_colour(compared, column), label=column) for column in compared.columns]
        if any("half" in way.costs for way in compared.kinds):
            patches.append(Patch(color=_colour(compared, "half"), label="each by a coin, never all"))
        figure.legend(handles=patches, loc="lower left", bbox_to_anchor=(0.01, 0.06 / height),
                      ncols=len(patches), frameon=False, fontsize=7.5, handlelength=1.1, labelcolor=INK)  # fmt: skip


def _colour(compared: Compared, column: str) -> str:
    if column not in compared.columns:
        return "#9aa0ab"
    return COLOURS[list(compared.columns).index(column) % len(COLOURS)]


def short(count: int) -> str:
    """A count of parameters: 512, 48.1 k, 1.23 M."""
    if count < 1000:
        return str(count)
    power, unit = (1e6, "M") if count >= 999_500 else (1e3, "k")
    digits = max(0, 2 - int(np.log10(count / power)))
    return f"{count / power:.{digits}f} {unit}"
