"""The gallery as one PNG, for a README or a slide.

[Search, …] -> PNG
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from sensorium.viewing.gallery import Search, Shown
from sensorium.viewing.inline import loudness, opened

INK, SOFT, LINE, RIGHT, SOUND = "#1b1d22", "#686d78", "#dcdee2", "#009e73", "#0072b2"
FONTS = ("Noto Sans", "Liberation Sans", "Arial", "DejaVu Sans", "Noto Sans CJK SC", "WenQuanYi Micro Hei")
PIXELS = 256  # of a picture, longest side

# In units of one picture's side.
CELL, GAP, QUERY, CAPTION, EDGE = 1.0, 0.16, 1.9, 0.34, 0.16


def save(path: str | os.PathLike, searches: Sequence[Search], top: int = 5, dpi: int = 160) -> Path:
    """Queries on the left, the `top` nearest on the right; right ones have a green frame and a tick.

    A picture's side is one inch: with five answers the figure is 1,283 pixels wide at 160 dpi.
    """
    if not searches:
        raise ValueError("searches: got none; expected at least one to draw")
    row = CELL + CAPTION + GAP
    width = 2 * EDGE + QUERY + top * (CELL + GAP)
    height = 2 * EDGE + len(searches) * row - GAP
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = [name for name in FONTS if name in installed]
    for n, search in enumerate(searches):
        y = EDGE + n * row
        if n:
            axes.plot([EDGE, width - EDGE], [y - GAP / 2] * 2, color=LINE, lw=0.8)
        _query(axes, search.query, y, fonts)
        for place, answer in enumerate(search.answers[:top]):
            _answer(axes, answer, EDGE + QUERY + place * (CELL + GAP) + GAP, y, fonts)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi, format="png")
    return path


def _query(axes: Axes, query: Shown, y: float, fonts: list[str]) -> None:
    middle = y + CELL / 2
    if query.sound is not None:
        heights = loudness(query.sound, 40)
        x = EDGE + 0.46 + np.arange(40) * 0.031
        axes.vlines(x, middle - 0.02 - 0.26 * heights, middle + 0.02 + 0.26 * heights, SOUND, lw=1.7)
        axes.add_patch(Circle((EDGE + 0.2, middle), 0.17, color=SOUND))
        axes.fill(EDGE + np.array([0.14, 0.14, 0.29]), middle + np.array([-0.09, 0.09, 0]), "white")
        _words(axes, query.text, EDGE, middle + 0.36, 9, SOFT, 32, 2, fonts)
    elif query.picture is not None:
        _picture(axes, query, EDGE + 0.1, y, LINE)
        _words(axes, query.text, EDGE + 0.1, y + CELL + 0.06, 7.5, SOFT, 22, 2, fonts)
    else:
        lines = textwrap.wrap(query.text, 19, max_lines=4, placeholder=" …")
        text = "\n".join(lines)
        axes.text(EDGE, middle, text, size=13, color=INK, va="center", family=fonts, parse_math=False)


def _answer(axes: Axes, answer: Shown, x: float, y: float, fonts: list[str]) -> None:
    if answer.picture is not None:
        _picture(axes, answer, x, y, RIGHT if answer.right else LINE)
        _words(axes, answer.text, x, y + CELL + 0.06, 7.5, INK if answer.right else SOFT, 21, 2, fonts)
    else:
        _frame(axes, x, y, RIGHT if answer.right else LINE)
        _words(axes, answer.text, x + 0.08, y + 0.1, 8, INK, 16, 6, fonts)
    if answer.right:
        axes.add_patch(
            Circle((x + CELL - 0.03, y + 0.03), 0.1, facecolor=RIGHT, edgecolor="white", lw=1.4, zorder=4)
        )
        tick_x, tick_y = np.array([-0.045, -0.012, 0.05]), np.array([0.002, 0.036, -0.036])
        axes.plot(x + CELL - 0.03 + tick_x, y + 0.03 + tick_y, color="white", lw=1.6, zorder=5)


def _picture(axes: Axes, shown: Shown, x: float, y: float, edge: str) -> None:
    assert shown.picture is not None
    small = opened(shown.picture)
    small.thumbnail((PIXELS, PIXELS))
    _frame(axes, x, y, edge)
    room = CELL - 0.16
    wide, high = (room * side / max(small.size) for side in small.size)
    left, top = x + (CELL - wide) / 2, y + (CELL - high) / 2
    axes.imshow(np.asarray(small), extent=(left, left + wide, top + high, top), aspect="auto", zorder=3)


def _frame(axes: Axes, x: float, y: float, edge: str) -> None:
    style = "round,pad=0,rounding_size=0.09"
    width = 2.2 if edge == RIGHT else 0.9
    axes.add_patch(
        FancyBboxPatch((x, y), CELL, CELL, style, facecolor="white", edgecolor=edge, lw=width, zorder=2)
    )


def _words(
    axes: Axes,
    text: str,
    x: float,
    y: float,
    size: float,
    colour: str,
    wide: int,
    lines: int,
    fonts: list[str],
) -> None:
    wrapped = "\n".join(textwrap.wrap(text, wide, max_lines=lines, placeholder=" …"))
    axes.text(x, y, wrapped, size=size, color=colour, va="top", family=fonts, parse_math=False)
