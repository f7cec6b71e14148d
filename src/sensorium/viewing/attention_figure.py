"""Attention maps as one PNG, for a paper or a slide.

[PictureAttention | SoundAttention, …] -> PNG
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sensorium.viewing.attention_maps import (
    MARKS,
    SAYS,
    PictureAttention,
    SoundAttention,
    coloured,
    framed,
    heated,
    mel,
    scale_of,
    seconds_marked,
    share_of,
    spectrogram,
    times_even,
)
from sensorium.viewing.figure import FONTS, INK, SOFT

# In inches.
TILE, GAP, EDGE, HEADING, CAPTION, STRIP, SOUND_HIGH, SCALE, LABELS = (
    1.5,
    0.12,
    0.16,
    0.3,
    0.26,
    0.24,
    1.3,
    0.42,
    1.3,
)
ACROSS = 5  # tiles in a row, the plain picture one of them
WIDTH = 2 * EDGE + ACROSS * (TILE + GAP) - GAP


def save(
    path: str | os.PathLike, figures: Sequence[PictureAttention | SoundAttention], dpi: int = 160
) -> Path:
    """The figures below each other, each with its scale; at 160 dpi 1,328 pixels wide."""
    if not figures:
        raise ValueError("figures: got none; expected at least one to draw")
    heights = [_height(shown) for shown in figures]
    height = 2 * EDGE + sum(heights)
    canvas = Figure(figsize=(WIDTH, height), facecolor="white")
    FigureCanvasAgg(canvas)
    axes = canvas.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(height, 0)
    axes.axis("off")
    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = [name for name in FONTS if name in installed]
    y = EDGE
    for shown, high in zip(figures, heights):
        _text(axes, EDGE, y + 0.1, shown.title, fonts, 10.5, weight="bold")
        if isinstance(shown, PictureAttention):
            _picture(axes, shown, y + HEADING, fonts)
        else:
            _sound(axes, shown, y + HEADING, fonts)
        y += high
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=dpi, format="png")
    return path


def _height(shown: PictureAttention | SoundAttention) -> float:
    if isinstance(shown, PictureAttention):
        rows = -(-(1 + len(shown.maps)) // ACROSS)
        return HEADING + rows * (TILE + CAPTION + GAP) + SCALE
    return HEADING + SOUND_HIGH + len(shown.maps) * STRIP + 0.3 + SCALE


def _picture(axes: Axes, shown: PictureAttention, top: float, fonts: list[str]) -> None:
    grids = shown.grids()
    most = scale_of(grids.values())
    tiles = [("", "", framed(shown))]
    tiles += [(name, share_of(grid), heated(shown, grid, most)) for name, grid in grids.items()]
    for n, (name, share, pixels) in enumerate(tiles):
        x = EDGE + (n % ACROSS) * (TILE + GAP)
        y = top + (n // ACROSS) * (TILE + CAPTION + GAP)
        _image(axes, pixels, x, y, TILE, TILE)
        _text(axes, x, y + TILE + 0.12, name, fonts, 9)
        _text(axes, x + TILE, y + TILE + 0.12, share, fonts, 8, SOFT, "right")
    rows = -(-len(tiles) // ACROSS)
    _scale(axes, EDGE, top + rows * (TILE + CAPTION + GAP), most, fonts)


def _sound(axes: Axes, shown: SoundAttention, top: float, fonts: list[str]) -> None:
    most, seconds = scale_of(shown.maps.values()), shown.seconds
    bands, highest = spectrogram(shown.sound)
    left, across = EDGE + LABELS, WIDTH - 2 * EDGE - LABELS
    own = across * len(shown.sound.samples) / shown.sound.rate / seconds
    _image(axes, bands, left, top, own, SOUND_HIGH)
    for mark in (mark for mark in MARKS if mark <= highest):
        y = top + SOUND_HIGH * (1 - mel(mark) / mel(highest))
        name = f"{mark / 1000:g} kHz" if mark >= 1000 else f"{mark} Hz"
        _text(axes, left - 0.06, y, name, fonts, 7, SOFT, "right")
    y = top + SOUND_HIGH + 0.06
    for name, map_ in shown.maps.items():
        strip = coloured(times_even(map_) / most)[None]
        _image(axes, strip, left, y, across * shown.end_of(map_) / seconds, STRIP - 0.05)
        said = " ".join(filter(None, [name, share_of(map_)]))
        _text(axes, left - 0.06, y + STRIP / 2 - 0.02, said, fonts, 9, INK, "right")
        y += STRIP
    for second in seconds_marked(seconds):
        _text(axes, left + across * second / seconds, y + 0.08, f"{second:g} s", fonts, 7, SOFT, "center")
    _scale(axes, left, y + 0.24, most, fonts)


def _scale(axes: Axes, x: float, y: float, most: float, fonts: list[str]) -> None:
    wide = 1.4
    _image(axes, coloured(np.linspace(0, 1, 120))[None], x, y, wide, 0.1)
    for at, label in ((0.0, "0"), (1.0, "1"), (most, f"{most:.2g}")):
        if at in (0, most) or 0.08 * most < at < 0.85 * most:
            _text(axes, x + wide * at / most, y + 0.18, label, fonts, 7, SOFT, "center")
    _text(axes, x + wide + 0.12, y + 0.05, SAYS, fonts, 7, SOFT)


def _image(axes: Axes, pixels: np.ndarray, x: float, y: float, width: float, height: float) -> None:
    axes.imshow(pixels, extent=(x, x + width, y + height, y), aspect="auto", interpolation="nearest")


def _text(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    fonts: list[str],
    size: float,
    colour: str = INK,
    ha: str = "left",
    weight: str = "normal",
) -> None:
    axes.text(
        x, y, text, size=size, color=colour, ha=ha, va="center", family=fonts, weight=weight, parse_math=False
    )
