"""What was seen, what was made of it, and what it should have been: pictures side by side.

[{"original": uint8[H, W, 3], "what the encoder saw": …, "reconstruction": …}, …] -> PNG (a `report.Drawing`)
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sensorium.viewing.inline import Picture, opened

INK, SOFT = "#1b1d22", "#686d78"
CELL, GAP, HEAD, EDGE = 1.0, 0.08, 0.3, 0.12  # inches: a picture's side, between two, the headings, around
NOTE = 0.17  # inches a line of the note
ABREAST = 2  # pictures' rows that stand beside each other in the figure
GREY = 127  # of hidden patches


@dataclass(frozen=True)
class Reconstructions:
    """Rows of pictures under the same headings.

    title: over all; note: how they were chosen and drawn ("at random" is the honest word)
    rows:  heading -> picture, the same headings in each
    """

    title: str
    rows: Sequence[Mapping[str, Picture]]
    note: str = ""

    def __post_init__(self) -> None:
        if not self.rows or any(list(row) != list(self.rows[0]) for row in self.rows):
            raise ValueError(
                f"rows of {[list(row) for row in self.rows][:3]}; expected some, with the same headings"
            )


def save(path: str | os.PathLike, shown: Reconstructions, dpi: int = 160) -> Path:
    """Write the figure as PNG: two rows of pictures abreast, headings on top, the note below."""
    headings = list(shown.rows[0])
    lines = -(-len(shown.rows) // ABREAST)
    block = len(headings) * (CELL + GAP)
    abreast = min(ABREAST, len(shown.rows))
    width = 2 * EDGE + abreast * block + (abreast - 1) * 3 * GAP
    note = _wrapped(shown.note, round(13.5 * width))
    height = 2 * EDGE + HEAD + lines * (CELL + GAP) + NOTE * len(note)
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    for n, row in enumerate(shown.rows):
        left = EDGE + (n % ABREAST) * (block + 3 * GAP)
        y = EDGE + HEAD + (n // ABREAST) * (CELL + GAP)
        for place, heading in enumerate(headings):
            x = left + place * (CELL + GAP)
            if n < abreast:
                axes.text(x + CELL / 2, EDGE + HEAD / 2, heading, size=7, color=INK, ha="center", va="center")
            picture = np.asarray(opened(row[heading]))
            axes.imshow(picture, extent=(x, x + CELL, y + CELL, y), aspect="auto", interpolation="nearest")
    for n, line in enumerate(note):
        axes.text(EDGE, height - EDGE - NOTE * (len(note) - n - 0.7), line, size=6.5, color=SOFT, va="center")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi, format="png")
    return path


def without(picture: np.ndarray, hidden: Sequence[int] | np.ndarray, side: int) -> np.ndarray:
    """uint8[H, W, 3] -> the same, grey where a patch of `side` pixels is hidden (places read row by row)."""
    seen = picture.copy()
    across = picture.shape[1] // side
    for place in np.asarray(hidden).tolist():
        row, column = divmod(place, across)
        seen[row * side : (row + 1) * side, column * side : (column + 1) * side] = GREY
    return seen


def _wrapped(text: str, letters: int) -> list[str]:
    return textwrap.wrap(text, max(letters, 20))
