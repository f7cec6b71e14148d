"""Media as data URIs, so that a page carries all that it shows.

uint8[H, W, 3] | JPEG bytes | sound -> "data:…;base64,…"
"""

from __future__ import annotations

import base64
import io
from itertools import pairwise
from typing import Protocol

import numpy as np
import soundfile
from PIL import Image

Picture = np.ndarray | bytes  # uint8[H, W, 3], or a JPEG that we made (a thumbnail of the index)


class Sound(Protocol):
    """What is needed of `Audio`: samples float32[T] in [-1, 1] at `rate` a second."""

    @property
    def samples(self) -> np.ndarray: ...
    @property
    def rate(self) -> int: ...


def opened(picture: Picture) -> Image.Image:
    """A picture as RGB. Files that others made are decoded by `sensorium.media`, not here."""
    if isinstance(picture, bytes):
        if not picture.startswith(b"\xff\xd8"):
            raise ValueError(
                f"picture: got bytes starting {picture[:8]!r}; expected a JPEG or uint8[H, W, 3]"
            )
        return Image.open(io.BytesIO(picture), formats=["JPEG"]).convert("RGB")
    if not (isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape[2:] == (3,)):
        kind = (
            f"{picture.dtype}{list(picture.shape)}"
            if isinstance(picture, np.ndarray)
            else type(picture).__name__
        )
        raise ValueError(f"picture: got {kind}; expected uint8[H, W, 3] or JPEG bytes")
    return Image.fromarray(picture)


def picture_uri(picture: Picture, side: int = 192) -> str:
    """At most `side` pixels wide and high, as WebP."""
    small = opened(picture)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=86, method=4)
    return _uri("image/webp", out.getvalue())


def sound_uri(sound: Sound) -> str:
    """The whole sound as FLAC, 16 bit."""
    out = io.BytesIO()
    soundfile.write(out, np.clip(sound.samples, -1, 1), sound.rate, format="FLAC", subtype="PCM_16")
    return _uri("audio/flac", out.getvalue())


def loudness(sound: Sound, bars: int) -> np.ndarray:
    """float[bars] in [0, 1]: the peak of each stretch of a sound against its loudest, for drawing it."""
    edges = np.linspace(0, len(sound.samples), bars + 1).astype(int)
    peaks = np.array([np.abs(sound.samples[a : max(b, a + 1)]).max(initial=0) for a, b in pairwise(edges)])
    return peaks / max(float(peaks.max(initial=0)), 1e-9)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
