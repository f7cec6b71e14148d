"""How much one piece of media may cost before it is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """Upper bounds on one piece of media; whatever exceeds one is a `MediaError`, never cut silently.

    bytes:      of the file, checked before it is read
    text_bytes: of a text file, which is held and tokenized whole
    pixels:     of one picture, and of all the frames kept of one video together (3 bytes of memory each),
                checked from the header before anything is decoded
    seconds:    of sound or video, checked from the header and again while decoding
    frames:     kept of one video

    Change one with `dataclasses.replace(LIMITS, pixels=400_000_000)` or `Limits(pixels=400_000_000)`.
    """

    bytes: int = 2**30
    text_bytes: int = 2**24
    pixels: int = 120_000_000
    seconds: float = 3600.0
    frames: int = 512

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not value > 0 or (limit.name != "seconds" and math.isinf(value)):
                raise ValueError(
                    f"limit {limit.name}: got {value}; expected a positive number, such as {limit.default}"
                )


LIMITS = Limits()
