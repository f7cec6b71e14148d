"""A record's media as a report shows them: pictures small, clips as strips, sounds to play, boxes drawn in.

Sample -> Shown
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from sensorium.data.sample import Sample
from sensorium.media import Audio, MediaError, Source, Video
from sensorium.viewing.report import Shown

SIDE = 224  # pixels of a picture in the page
FRAMES = 4  # of a clip's strip
SECONDS = 8.0  # of a sound; the page carries what it plays
LETTERS = 400  # of a text
RIGHT, MODEL = (34, 160, 84), (240, 120, 20)  # of boxes


def decoded(sample: Sample, column: str) -> Any:
    """The media of a column; None where the record has none or it cannot be decoded."""
    media = sample.columns.get(column)
    try:
        return media.decode() if isinstance(media, Source) else media
    except MediaError:
        return None


def shown(sample: Sample, column: str) -> Shown | None:
    """What a page shows of a column; None where there is nothing to see."""
    media = decoded(sample, column)
    if isinstance(media, str):
        return Shown(media if len(media) <= LETTERS else f"{media[:LETTERS]}…")
    if isinstance(media, Video):
        return Shown(picture=strip(media))
    if isinstance(media, Audio):
        return Shown(sound=replace(media, samples=media.samples[: int(SECONDS * media.rate)]))
    if isinstance(media, np.ndarray) and media.ndim == 3:
        return Shown(picture=media)
    return None


def thumbnail(sample: Sample) -> np.ndarray | None:
    """The first picture of a record, or its clip's first frame."""
    for column in sample.columns:
        if sample.modality[column] in ("image", "video"):
            media = decoded(sample, column)
            if isinstance(media, Video) and len(media.frames):
                return np.asarray(media.frames[0])
            if isinstance(media, np.ndarray):
                return media
    return None


def strip(clip: Video) -> np.ndarray:
    """uint8[H, W, 3]: some frames in order, two a row."""
    places = np.linspace(0, len(clip.frames) - 1, min(FRAMES, len(clip.frames))).round().astype(int)
    return tiled([np.asarray(clip.frames[place]) for place in places], 2)


def tiled(frames: Sequence[np.ndarray], across: int) -> np.ndarray:
    """Frames of one size in rows of so many, read like a text, their edges white; white where the last row ends."""
    cells = []
    for frame in frames:
        cell, edge = frame.copy(), max(1, len(frame) // 48)
        cell[:edge] = cell[-edge:] = cell[:, :edge] = cell[:, -edge:] = 255
        cells.append(cell)
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % across)
    rows = [np.concatenate(cells[n : n + across], 1) for n in range(0, len(cells), across)]
    return np.concatenate(rows, 0)


def boxed(
    media: Sequence[Shown | None], right: Sequence[float], answer: Sequence[float]
) -> list[Shown | None]:
    """The same, with two boxes (cx, cy, w, h in shares) drawn into the first picture."""
    found = list(media)
    for place, one in enumerate(found):
        if one is not None and isinstance(one.picture, np.ndarray):
            seen = Image.fromarray(one.picture).convert("RGB")
            seen = seen.resize((SIDE, round(SIDE * seen.height / seen.width)), Image.Resampling.LANCZOS)
            draw = ImageDraw.Draw(seen)
            for box, colour in ((right, RIGHT), (answer, MODEL)):
                draw.rectangle(corners(box, seen.width, seen.height), outline=colour, width=4)
            found[place] = replace(one, picture=np.asarray(seen))
            break
    return found


def corners(box: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    """(cx, cy, w, h) in shares -> (x0, y0, x1, y1) in pixels, inside the picture."""
    cx, cy, w, h = box
    x = sorted(min(max(one, 0.0), 1.0) * (width - 1) for one in (cx - w / 2, cx + w / 2))
    y = sorted(min(max(one, 0.0), 1.0) * (height - 1) for one in (cy - h / 2, cy + h / 2))
    return x[0], y[0], x[1], y[1]
