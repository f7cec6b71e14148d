"""The same vectors seen by several methods side by side, one colour a label, as one PNG.

vectors, labels -> PNG
"""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sensorium.viewing.figure import FONTS, INK, LINE, SOFT
from sensorium.viewing.projection import METHODS, MOST, NAMES, project

# Okabe & Ito's colours, told apart by people who see red and green alike (yellow, too light for dots, is left out).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000")
OTHER = "#c3c6cc"
# What a reader must know of each to read it rightly.
MEANS = {
    "pca": "largest variance",
    "lda": "has seen the labels",
    "mds": "nearest to cosine distances",
    "umap": "keeps neighbours, not distances",
}
SIDE = 4.2  # inches of a panel


def panels() -> tuple[str, ...]:
    """The methods that can be drawn here: UMAP only where it is installed."""
    installed = importlib.util.find_spec("umap") is not None
    return tuple(method for method in METHODS[1:] if method != "umap" or installed)


def projections(
    vectors: np.ndarray,
    labels: Sequence[Any],
    title: str = "",
    methods: Sequence[str] = (),
    seed: int = 0,
) -> Figure:
    """A panel for each method: float[N, D], N labels.

    The most frequent labels have a colour each, the rest are grey. Of more than `projection.MOST` vectors so many are
    drawn by chance, the same in every panel.
    methods: of `projection.METHODS`; by default all that are installed

    Raises ValueError when numbers do not fit, or when LDA has one label only.
    """
    vectors, names = np.asarray(vectors, np.float32), np.asarray([str(label) for label in labels])
    if vectors.ndim != 2 or len(names) != len(vectors):
        raise ValueError(
            f"projections: got vectors {list(vectors.shape)} and {len(names)} labels; expected float[N, D] and N"
        )
    if len(vectors) > MOST:
        chosen = np.sort(np.random.default_rng(seed).choice(len(vectors), MOST, replace=False))
        title = f"{title} ({MOST:,} of {len(vectors):,})".strip()
        vectors, names = vectors[chosen], names[chosen]
    methods = tuple(methods) or panels()
    columns = min(2, len(methods)) if len(methods) != 3 else 3
    rows = -(-len(methods) // columns)
    figure = Figure(figsize=(SIDE * columns, SIDE * rows + 0.9), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    fonts = [name for name in FONTS if name in {font.name for font in font_manager.fontManager.ttflist}]
    kinds = coloured(names)
    for place, method in enumerate(methods, 1):
        points, shown = project(vectors, method, seed, names.tolist())
        _panel(
            figure.add_subplot(rows, columns, place),
            points,
            names,
            kinds,
            shown,
            MEANS.get(method, ""),
            fonts,
        )
    if title:
        figure.suptitle(title, size=13, color=INK, family=fonts, x=0.01, ha="left", parse_math=False)
    marks, said = figure.axes[0].get_legend_handles_labels()
    if len(kinds) > len(COLOURS):  # grey is drawn first, below the others, and named last
        marks, said = [*marks[1:], marks[0]], [*said[1:], said[0]]
    found = figure.legend(
        marks,
        said,
        loc="outside lower center",
        ncols=min(4, len(said)),
        frameon=False,
        fontsize=9,
        markerscale=2,
    )
    for text in found.get_texts():
        text.set(color=INK, family=fonts, parse_math=False)
    return figure


def save(
    path: str | os.PathLike, vectors: np.ndarray, labels: Sequence[Any], dpi: int = 110, **options: Any
) -> Path:
    """`projections` as a PNG."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    projections(vectors, labels, **options).savefig(path, dpi=dpi, format="png")
    return path


def coloured(names: np.ndarray) -> dict[str, str]:
    """Label -> colour: the most frequent first, grey for those beyond the colours."""
    ordered = [
        name for name, _ in sorted(Counter(names.tolist()).items(), key=lambda item: (-item[1], item[0]))
    ]
    return {name: COLOURS[place] if place < len(COLOURS) else OTHER for place, name in enumerate(ordered)}


def _panel(
    axes: Axes,
    points: np.ndarray,
    names: np.ndarray,
    kinds: dict[str, str],
    method: str,
    means: str,
    fonts: list[str],
) -> None:
    low, high = np.quantile(points, 0.005, axis=0), np.quantile(points, 0.995, axis=0)
    points = np.clip(
        points, low - 0.05 * (high - low), high + 0.05 * (high - low)
    )  # a few far ones leave no room
    grey = np.array([kinds[name] == OTHER for name in names])
    if grey.any():
        rest = sorted(set(names[grey].tolist()))
        said = rest[0] if len(rest) == 1 else f"{len(rest)} more labels"
        axes.scatter(points[grey, 0], points[grey, 1], s=7, c=OTHER, linewidths=0, label=said)
    for name, colour in kinds.items():
        if colour != OTHER:
            x, y = points[names == name].T
            axes.scatter(x, y, s=9, c=colour, alpha=0.75, linewidths=0, label=name)
    axes.set_title(NAMES.get(method.lower(), method), size=11, color=INK, family=fonts, loc="left")
    axes.set_title(means, size=8.5, color=SOFT, family=fonts, loc="right")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(LINE)
