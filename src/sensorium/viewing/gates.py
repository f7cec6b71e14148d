"""What a fusion's gates do: how much it takes of each column, in single rows, in all, and by label.

Gates -> PNG, SVG

    left    some rows from one end of the order to the other, with their pictures: shares as stacked bars
    middle  every row a line of a heat map, rows of one label together
    right   the mean share of each column by label
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sensorium.viewing.comparison import COLOURS, FONTS, INK, LIGHT, LINE, SOFT
from sensorium.viewing.inline import Picture, opened

SHOWN = 12  # rows with their pictures
MOST_LABELS = 16
PIXELS = 96


@dataclass(frozen=True)
class Gates:
    """The gates of N rows.

    name:     of the fusion
    columns:  C names
    values:   float[N, C], 0 where a column is absent (`Fused.gates`); drawn as shares of their sum
    labels:   N right answers, by which rows are put together
    pictures: N, a row's picture or None; or none at all
    texts:    N, what stands beside the row; or none at all
    """

    name: str
    columns: Sequence[str]
    values: np.ndarray
    labels: Sequence[str]
    pictures: Sequence[Picture | None] = ()
    texts: Sequence[str] = ()

    def __post_init__(self) -> None:
        N = len(self.values)
        if self.values.shape != (N, len(self.columns)) or not N:
            raise ValueError(
                f"gates: got {list(self.values.shape)}; expected rows by {len(self.columns)} columns, at least one row"
            )
        for what, given in (("labels", self.labels), ("pictures", self.pictures), ("texts", self.texts)):
            if len(given) != N and (given or what == "labels"):
                raise ValueError(f"{what}: got {len(given)} for {N} rows; expected one each")

    @property
    def shares(self) -> np.ndarray:
        """float[N, C]: of each row's sum; zeros for a row that has nothing."""
        sums = self.values.sum(1, keepdims=True)
        return np.divide(self.values, sums, out=np.zeros_like(self.values, dtype=float), where=sums > 0)

    def order(self) -> np.ndarray:
        """int64[N]: rows by label, and within a label by the share of the first column."""
        names = sorted(set(self.labels))
        place = np.array([names.index(label) for label in self.labels])
        return np.lexsort((-self.shares[:, 0], place))

    def by_label(self) -> dict[str, np.ndarray]:
        """{label: float[C]}, the mean shares of its rows; the most frequent labels where there are many."""
        labels = np.array(self.labels, dtype=object)
        counts = {label: int((labels == label).sum()) for label in sorted(set(self.labels))}
        kept = sorted(counts, key=lambda label: -counts[label])[:MOST_LABELS]
        return {label: self.shares[labels == label].mean(0) for label in sorted(kept)}


def save(path: str | os.PathLike, gates: Gates, dpi: int = 200) -> Path:
    """Draw a PNG or an SVG, by the path's ending."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = draw(gates)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "gates"}):
        figure.savefig(path, dpi=dpi, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path


def draw(gates: Gates) -> Figure:
    """The figure."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    with rc_context({"font.family": [name for name in FONTS if name in installed], "font.size": 8.5}):
        figure = Figure(figsize=(11.6, 5.4), facecolor="white")
        FigureCanvasAgg(figure)
        rows, heat, means = (
            figure.add_axes((left, 0.14, wide, 0.74))
            for left, wide in ((0.12, 0.26), (0.50, 0.16), (0.79, 0.19))
        )
        _rows(rows, gates)
        _heat(heat, gates)
        _means(means, gates)
        titles = (f"a  {gates.name}: single rows", f"b  all {len(gates.values):,} rows", "c  mean by label")
        for axes, title in zip((rows, heat, means), titles):
            axes.set_title(title, loc="left", weight="bold", size=8.5, color=INK, pad=10)
            axes.tick_params(length=0, labelcolor=INK)
            for side in axes.spines.values():
                side.set_color(LINE)
        patches = [Patch(color=COLOURS[n % len(COLOURS)], label=name) for n, name in enumerate(gates.columns)]
        figure.legend(handles=patches, loc="lower left", bbox_to_anchor=(0.11, 0.0), ncols=len(patches),
                      frameon=False, fontsize=8, handlelength=1.1, labelcolor=INK)  # fmt: skip
        return figure


def _rows(axes: Axes, gates: Gates) -> None:
    order = gates.order()
    chosen = order[np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)]
    _stacks(axes, gates, gates.shares[chosen])
    said = gates.texts or gates.labels
    axes.set_yticks(range(len(chosen)), [_cut(said[row]) for row in chosen], size=7)
    if gates.pictures:
        axes.tick_params(axis="y", pad=27)
        box = axes.get_position()
        tall = box.height / len(chosen)
        figure = axes.get_figure()
        assert isinstance(figure, Figure)
        wide = tall * figure.get_figheight() / figure.get_figwidth()
        for place, row in enumerate(chosen):
            if (picture := gates.pictures[row]) is not None:
                small = opened(picture)
                small.thumbnail((PIXELS, PIXELS))
                bottom = box.y1 - (place + 1) * tall
                inset = figure.add_axes((box.x0 - wide * 1.06, bottom + 0.05 * tall, wide * 0.9, tall * 0.9))
                inset.imshow(np.asarray(small))
                inset.axis("off")
    axes.set_ylim(len(chosen) - 0.5, -0.5)


def _heat(axes: Axes, gates: Gates) -> None:
    order = gates.order()
    shares, most = gates.shares[order], max(float(gates.shares.max()), 1e-9)
    image = axes.imshow(shares, aspect="auto", cmap="magma_r", vmin=0, vmax=most, interpolation="nearest")
    axes.set_xticks(range(len(gates.columns)), list(gates.columns))
    labels = [gates.labels[row] for row in order]
    starts = [0, *(n for n in range(1, len(labels)) if labels[n] != labels[n - 1]), len(labels)]
    if len(starts) - 1 <= MOST_LABELS:
        middles = [(low + high - 1) / 2 for low, high in pairwise(starts)]
        axes.set_yticks(middles, [_cut(labels[start]) for start in starts[:-1]], size=7)
        for start in starts[1:-1]:
            axes.axhline(start - 0.5, color="white", lw=1.5)
    else:
        axes.set_yticks([])
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(image, ax=axes, fraction=0.06, pad=0.04)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=7, labelcolor=SOFT)


def _means(axes: Axes, gates: Gates) -> None:
    means = gates.by_label()
    _stacks(axes, gates, np.stack(list(means.values())), numbers=True)
    axes.set_yticks(range(len(means)), [_cut(label) for label in means], size=7)
    axes.set_ylim(max(len(means), 6) - 0.5, -0.5)  # two labels do not become two walls


def _stacks(axes: Axes, gates: Gates, shares: np.ndarray, numbers: bool = False) -> None:
    for place, row in enumerate(shares):
        left = 0.0
        for n, share in enumerate(row):
            colour = COLOURS[n % len(COLOURS)]
            axes.barh(place, share, 0.74, left=left, color=colour, edgecolor="white", lw=0.6)
            if numbers and share > 0.14:
                axes.text(left + share / 2, place, f"{100 * share:.0f}", ha="center", va="center", size=7,
                          color=INK if colour in LIGHT else "white")  # fmt: skip
            left += share
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"])


def _cut(text: str, most: int = 18) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
