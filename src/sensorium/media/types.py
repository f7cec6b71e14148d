"""The values that decoded media are, and the one error that bad media raises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

MODALITIES = ("text", "image", "audio", "video", "state")

Image = np.ndarray  # RGB uint8[H, W, 3]
State = np.ndarray  # float32[D] with a named schema
Text = str


@dataclass(frozen=True)
class Audio:
    """Mono sound. samples: float32[T] in [-1, 1]; rate: samples per second."""

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True)
class Video:
    """Frames sampled by time. frames: uint8[F, H, W, 3]; times: float64[F] in seconds from the start."""

    frames: np.ndarray
    times: np.ndarray


Media = Image | Audio | Video | Text


class MediaError(ValueError):
    """Media that cannot be decoded: which file, what was got, what is accepted.

    Everything in `sensorium.media` raises this and nothing else for bad input, so that one
    `except MediaError` is enough to quarantine a record.
    """

    def __init__(self, file: str | Path, got: str, accepted: str) -> None:
        super().__init__(f"{file}: got {got}; accepted: {accepted}")
        self.file, self.got, self.accepted = str(file), got, accepted

    def __reduce__(self) -> tuple:  # loader workers send errors between processes
        return type(self), (self.file, self.got, self.accepted)


def bytes_held(media: Media) -> int:
    """The bytes of memory that a decoded medium takes."""
    if isinstance(media, Audio):
        return media.samples.nbytes
    if isinstance(media, Video):
        return media.frames.nbytes
    return media.nbytes if isinstance(media, np.ndarray) else len(media)
