"""Whether tasks pull in one direction: the cosines of their gradients, as a heat map and over the steps of a run.

history.jsonl | its records -> cosines -> PNG
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sensorium.viewing.curves import History, records_of

PREFIX = "cosine/"  # of a record's entries: "cosine/mood|strength"
INK, SOFT = "#1b1d22", "#686d78"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STRETCHES = 60  # of a curve: a cosine of one batch says little, so stretches are averaged


def cosines(history: History) -> tuple[np.ndarray, dict[tuple[str, str], np.ndarray]]:
    """Steps int[S], and by pair of losses float[S], NaN where a step did not have both.

    Raises ValueError for a run that kept its gradients together.
    """
    records = [r for r in records_of(history) if any(name.startswith(PREFIX) for name in r)]
    if not records:
        raise ValueError(
            "no cosines of gradients in this history; train with Run(conflict='watch') or conflict='project'"
        )
    names = dict.fromkeys(name for record in records for name in record if name.startswith(PREFIX))
    pairs = {name: tuple(name.removeprefix(PREFIX).split("|")) for name in names}
    return np.array([record["step"] for record in records]), {
        (a, b): np.array([record.get(name, np.nan) for record in records], float)
        for name, (a, b) in pairs.items()
    }


def matrix(names: Sequence[str], found: dict[tuple[str, str], np.ndarray]) -> np.ndarray:
    """float[T, T]: the mean cosine of every two losses over the steps that had both; 1 with itself, NaN where none."""
    means = np.eye(len(names))
    for (row, a), (column, b) in combinations(enumerate(names), 2):
        values = found.get((a, b), found.get((b, a), np.array([])))
        known = values[np.isfinite(values)]
        means[row, column] = means[column, row] = known.mean() if len(known) else np.nan
    return means


def save(path: str | os.PathLike, history: History, dpi: int = 160) -> Path:
    """The heat map of mean cosines, and each pair's over the steps, with the share of the steps in conflict.

    Red and below zero: a step for one task is a step back for the other.
    """
    steps, found = cosines(history)
    names = list(dict.fromkeys(name for pair in found for name in pair))
    side = max(2.6, 0.7 * len(names) + 1.2)
    figure = Figure(figsize=(side + 6.2, max(side, 3.2)), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(side, 5.6))
    _heat_map(left, names, matrix(names, found))
    _curves(right, steps, found)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi, format="png")
    return path


def _heat_map(axes: Axes, names: Sequence[str], means: np.ndarray) -> None:
    axes.imshow(means, cmap="RdBu", vmin=-1, vmax=1)
    for (row, column), value in np.ndenumerate(means):
        shown = "–" if np.isnan(value) else f"{value:.2f}"
        dark = not np.isnan(value) and abs(value) > 0.6
        axes.text(column, row, shown, ha="center", va="center", color="white" if dark else INK, size=9)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", size=8)
    axes.set_yticks(range(len(names)), names, size=8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title("mean cosine of the gradients", size=10, color=INK, loc="left")


def _curves(axes: Axes, steps: np.ndarray, found: dict[tuple[str, str], np.ndarray]) -> None:
    axes.axhspan(-1, 0, color="#d55e00", alpha=0.06, lw=0)
    axes.axhline(0, color=SOFT, lw=0.8)
    for place, ((a, b), values) in enumerate(found.items()):
        known = np.isfinite(values)
        if not known.any():
            continue
        pieces = np.array_split(np.stack([steps[known], values[known]]), min(STRETCHES, known.sum()), axis=1)
        x, y = np.array([piece.mean(1) for piece in pieces]).T
        against = (values[known] < 0).mean()
        axes.plot(
            x,
            y,
            color=COLOURS[place % len(COLOURS)],
            lw=1.6,
            label=f"{a}, {b}: against each other in {against:.0%}",
        )
    axes.set_ylim(-1, 1)
    axes.set_xlabel("step", size=9, color=SOFT)
    axes.set_title(
        "over the steps (means of stretches); below 0: in conflict", size=10, color=INK, loc="left"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=SOFT)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
