"""Scores of several ways by the number of labelled examples: one line a way.

{way: {size: Estimate}} -> PNG
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, SOFT, LINE = "#1b1d22", "#686d78", "#dcdee2"
# Okabe & Ito 2008, twice over: in two markers and strokes
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
MARKERS = ("o", "s")
APART = 0.045  # between the whiskers of two ways, in doublings of the size


class EstimateLike(Protocol):
    """What is drawn of an `Estimate` (see sensorium.evaluation.repeats)."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def save(
    path: Path,
    scores: Mapping[str, Mapping[int, EstimateLike]],
    title: str,
    plain: Sequence[str] = (),
    lines: Mapping[str, float] | None = None,
    unit: str = "labelled examples of each group",
) -> None:
    """Draw the figure. Fractions are shown in percent.

    scores: by way, by size
    plain:  ways that are drawn dashed in grey: what the others are measured against
    lines:  levels that no size changes (the majority's answer), dotted
    """
    figure = Figure(figsize=(8.8, 4.4), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    bold = [way for way in scores if way not in plain]
    for number, (way, found) in enumerate(scores.items()):
        shift = 2 ** (APART * (number - (len(scores) - 1) / 2))
        x = [size * shift for size in found]
        y = [100 * one.value for one in found.values()]
        colour = SOFT if way in plain else COLOURS[bold.index(way) % len(COLOURS)]
        place = list(plain).index(way) if way in plain else bold.index(way) // len(COLOURS)
        style = "--" if way in plain else "-" if place == 0 else (0, (5, 1.2))
        axes.plot(
            x, y, ls=style, color=colour, marker=MARKERS[place % 2], ms=4.5, lw=1.4, label=way, zorder=3
        )
        low, high = [100 * one.low for one in found.values()], [100 * one.high for one in found.values()]
        axes.vlines(x, low, high, color=colour, lw=0.9, zorder=2)
    for name, level in (lines or {}).items():
        axes.axhline(100 * level, color=SOFT, lw=1.1, ls=(0, (1, 1.6)), label=name)
    sizes = sorted({size for found in scores.values() for size in found})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel(unit, color=SOFT)
    axes.set_ylabel("accuracy, %", color=SOFT)
    axes.set_title(title, size=9.5, loc="left", color=INK)
    axes.grid(axis="y", color=LINE, lw=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5, length=0)
    figure.legend(fontsize=8, frameon=False, loc="outside right upper")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160, format="png")
