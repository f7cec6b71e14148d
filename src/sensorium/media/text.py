"""UTF-8 bytes -> str."""

from __future__ import annotations

import codecs
import os

from sensorium.media.limits import LIMITS, Limits
from sensorium.media.source import Source, as_source
from sensorium.media.types import MediaError

ACCEPTED = "UTF-8 text"
_OTHER_MARKS = {  # UTF-32 before UTF-16, whose mark is its beginning
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def decode(media: Source | bytes | str | os.PathLike, limits: Limits = LIMITS) -> str:
    """The text of a file (bytes are its content, a string is its path), without its byte order mark.

    Raises `MediaError` with the byte offset of the first NUL or invalid byte, and for text that is empty or
    all white space: no encoder can say anything about it.
    """
    source = as_source("text", media)
    data = source.read(limits)
    for mark, encoding in _OTHER_MARKS.items():
        if data.startswith(mark):
            raise MediaError(source.name, f"{encoding} text", f"{ACCEPTED}; save it as UTF-8")
    nul = data.find(b"\0")
    if nul >= 0:
        raise MediaError(source.name, f"a NUL byte at byte {nul}, so a binary file", ACCEPTED)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MediaError(
            source.name, f"byte 0x{data[error.start]:02x} at byte {error.start}, not UTF-8", ACCEPTED
        ) from error
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise MediaError(source.name, "no text (only white space)", ACCEPTED)
    return text
