"""Where the errors of decoding libraries become the one error of this room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sensorium.media.types import MediaError


@contextmanager
def refusing(name: str, what: str, accepted: str) -> Iterator[None]:
    """Turns whatever a decoder raises inside into `MediaError(name, what, accepted)` with the cause attached.

    Decoders fed with hostile bytes raise nearly every built-in exception (IndexError, struct.error,
    OverflowError, AssertionError …), each release others, so no shorter list than all of them is complete.
    Nothing is swallowed: the error leaves as a MediaError, or as itself when it already is one.
    """
    try:
        yield
    except MediaError:
        raise
    except Exception as error:
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = " ".join(detail.split())[:120]
        raise MediaError(name, f"{what} that cannot be decoded ({reason})", accepted) from error
