"""What callers send -> `Source`s of bytes, checked by size and by signature before anything is decoded.

part of a message | data URI | base64 | upload | (if allowed) http address ──► Source(modality, data=…)

A string of a caller's is content or is refused: nothing here makes a path of it, so no request can name a file of
the machine that serves.
"""

from __future__ import annotations

import asyncio
import binascii
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from sensorium.media import MODALITIES, Limits, Source
from sensorium.media.audio import ACCEPTED as SOUNDS
from sensorium.media.container import DEMUXERS, VIDEO_KINDS
from sensorium.media.image import ACCEPTED as PICTURES
from sensorium.media.signatures import HEAD, kind_of
from sensorium.media.video import ACCEPTED as CLIPS
from sensorium.serving.refused import Refused

if TYPE_CHECKING:
    from sensorium.serving.settings import Settings

__all__ = ["Refused", "media_read", "media_source", "part_read", "part_source", "source_of_bytes"]

# By modality: the kinds that are decoded, in the words of `signatures.kind_of`, and how errors list them.
KINDS = {
    "image": ("PNG picture", "JPEG picture", "WebP picture", "GIF picture", "BMP picture", "TIFF picture"),
    "audio": tuple(DEMUXERS),
    "video": VIDEO_KINDS,
}
ACCEPTED = {"image": PICTURES, "audio": SOUNDS, "video": CLIPS}

# Parts by type: the modality, and the key under which the media stand.
ADDRESSED = {"image_url": "image", "audio_url": "audio", "video_url": "video"}  # {"url": "data:…"}
INLINE = {
    "input_image": "image",
    "input_audio": "audio",
    "input_video": "video",
}  # {"data": base64, "format": …}
FORMATS = {
    "image": ("png", "jpeg", "jpg", "webp", "gif", "bmp", "tiff", "tif"),
    "audio": ("wav", "mp3", "flac", "ogg", "opus", "m4a", "aac", "webm", "mp4", "mpga", "mpeg"),
    "video": ("mp4", "webm", "mkv", "avi", "mov", "m4v"),
}
# First words of media types under which media of a modality travel; "" and application/octet-stream say nothing.
_TYPES = {"image": ("image",), "audio": ("audio", "video"), "video": ("video",)}
_UNSAID = (
    "",
    "text/plain",
    "application/octet-stream",
    "binary/octet-stream",
    "application/ogg",
    "application/mp4",
)

# Characters of base64 that are read in less time (0.2 ms) than it takes to hand them to a thread
AT_ONCE = 2**15
_HEADER = 256  # characters of a data URI before its comma
_SPACE = re.compile(rb"[ \t\r\n\f]+")


def part_source(part: Any, settings: Settings, where: str = "part") -> Source:
    """The media of one part of a message.

        {"type": "image_url",   "image_url":   {"url": "data:image/png;base64,…"}}     (audio_url, video_url)
        {"type": "input_audio", "input_audio": {"data": "base64…", "format": "wav"}}   (input_video, input_image)

    where: names the part in errors, such as "messages[0].content[1]"

    Raises `Refused`: 400 for what cannot be read, addresses and paths included; 413 beyond `settings.media`; 415 for
    bytes that are of no kind that is decoded.
    """
    modality, address, inline = _taken_apart(part, where)
    if address is not None:
        return media_source(modality, address, settings, where)
    return _inline_source(modality, inline, settings, where)


async def part_read(part: Any, settings: Settings, where: str = "part") -> Source:
    """As `part_source`, in a thread, and with http addresses fetched where `settings.allow_urls` says so."""
    modality, address, inline = _taken_apart(part, where)
    if address is not None:
        return await media_read(modality, address, settings, where)
    return await asyncio.to_thread(_inline_source, modality, inline, settings, where)


def media_source(modality: str, address: str, settings: Settings, where: str = "url") -> Source:
    """A data URI (RFC 2397; base64 or percent-encoded) as a Source. Raises `Refused` as `part_source`."""
    if not isinstance(address, str):
        raise Refused(400, f"got {type(address).__name__}; expected a data URI (data:…;base64,…)", where)
    if address[:5].lower() != "data:":
        raise Refused(400, _no_data_uri(address, settings), where)
    comma = address.find(",", 0, _HEADER)
    if comma < 0:
        raise Refused(400, "got a data URI without a comma; expected data:image/png;base64,…", where)
    media_type, *options = (word.strip().lower() for word in address[5:comma].split(";"))
    limits = settings.media
    if "base64" in options:
        data = _base64(address[comma + 1 :], limits, where)
    else:
        data = _percent(address[comma + 1 :], limits, where)
    return source_of_bytes(modality, data, settings, where, media_type)


async def media_read(modality: str, address: str, settings: Settings, where: str = "url") -> Source:
    """As `media_source`, in a thread unless it is small, and with http addresses fetched where `settings.allow_urls`
    says so."""
    if settings.allow_urls and isinstance(address, str) and address[:5].lower() != "data:":
        from sensorium.serving.urls import fetched

        try:
            data = await fetched(address, settings)
        except Refused as refused:
            raise Refused(refused.status, str(refused), where) from refused
        return source_of_bytes(modality, data, settings, where)
    if isinstance(address, str) and len(address) <= AT_ONCE:
        return media_source(modality, address, settings, where)
    return await asyncio.to_thread(media_source, modality, address, settings, where)


def source_of_bytes(
    modality: str, data: bytes, settings: Settings, where: str = "file", media_type: str = ""
) -> Source:
    """The bytes of a file, an upload's for one, as a Source.

    media_type: what the caller calls them. It must fit the modality; which format they have the bytes alone say, so
                a PNG that is announced as image/jpeg is read as the PNG that it is

    Raises `Refused`: 400 when empty, 413 beyond `settings.media`, 415 for bytes of no kind that is decoded.
    """
    if modality not in KINDS:
        raise Refused(422, f"got media for {modality!r}; expected one of {', '.join(KINDS)}", where)
    if not data:
        raise Refused(400, "got no bytes; expected the content of a file", where)
    _check_size(len(data), settings.media, where)
    said = media_type.partition(";")[0].strip().lower()
    if said not in _UNSAID and said.partition("/")[0] not in _TYPES[modality]:
        raise Refused(
            415, f"got the media type {said[:60]!r}; expected {modality}: {ACCEPTED[modality]}", where
        )
    kind = kind_of(data[:HEAD])
    if kind not in KINDS[modality]:
        raise Refused(415, f"got a {kind}; expected {modality}: {ACCEPTED[modality]}", where)
    return Source(modality, data=data, name=where, limits=settings.media)


def _taken_apart(part: Any, where: str) -> tuple[str, Any, Any]:
    """(modality, address, None) or (modality, None, {"data": …})."""
    if not isinstance(part, Mapping):
        raise Refused(400, f'got {type(part).__name__}; expected {{"type": "image_url", …}}', where)
    kind = part.get("type")
    if isinstance(kind, str) and kind in ADDRESSED:
        given = part.get(kind)
        address = given.get("url") if isinstance(given, Mapping) else given
        if not isinstance(address, str):
            raise Refused(400, f'expected "{kind}": {{"url": "data:…;base64,…"}}', where)
        return ADDRESSED[kind], address, None
    if isinstance(kind, str) and kind in INLINE:
        given = part.get(kind)
        if not isinstance(given, Mapping) or not isinstance(given.get("data"), str):
            raise Refused(400, f'expected "{kind}": {{"data": "base64…", "format": "…"}}', where)
        return INLINE[kind], None, given
    known = ", ".join((*ADDRESSED, *INLINE))
    if kind in MODALITIES and kind != "text":  # the format of conversations on disk, which names files
        raise Refused(
            400, f"parts of type {kind!r} name files, which no request may; expected one of {known}", where
        )
    raise Refused(400, f"unknown type {str(kind)[:60]!r}; expected one of {known}", where)


def _inline_source(modality: str, given: Mapping[str, Any], settings: Settings, where: str) -> Source:
    said = given.get("format")
    if said is not None and (not isinstance(said, str) or said.lower() not in FORMATS[modality]):
        raise Refused(
            415, f"got the format {str(said)[:60]!r}; expected one of {', '.join(FORMATS[modality])}", where
        )
    data = given["data"]
    if data[:5].lower() == "data:":  # some clients put the whole data URI here
        return media_source(modality, data, settings, where)
    return source_of_bytes(modality, _base64(data, settings.media, where), settings, where)


def _base64(text: str, limits: Limits, where: str) -> bytes:
    """Decoded with white space and without padding if need be; its size is known, and checked, beforehand."""
    encoded = _ascii(text, where)
    _check_size(len(encoded) // 4 * 3 - 3, limits, where)  # at least so much, if it holds no white space
    if b"\n" in encoded or b"%" in encoded or b" " in encoded:
        encoded = _SPACE.sub(b"", unquote_to_bytes(encoded))
        _check_size(len(encoded) // 4 * 3 - 3, limits, where)
    try:
        return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)
    except binascii.Error as error:
        raise Refused(400, f"got base64 that cannot be decoded ({error})", where) from error


def _percent(text: str, limits: Limits, where: str) -> bytes:
    _check_size(len(text) - 2 * text.count("%"), limits, where)
    return unquote_to_bytes(_ascii(text, where))


def _ascii(text: str, where: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:  # half of a surrogate pair, too, which JSON may hold
        raise Refused(400, f"got {text[error.start]!r} in a data URI, which is plain ASCII", where) from error


def _check_size(size: int, limits: Limits, where: str) -> None:
    if size > limits.bytes:
        raise Refused(413, f"got {size:,} bytes; at most {limits.bytes:,} are taken", where)


def _no_data_uri(address: str, settings: Settings) -> str:
    shown = repr(address[:60])
    if address[:7].lower() == "http://" or address[:8].lower() == "https://":
        if settings.allow_urls:
            return f"got {shown}; here only data URIs are taken"
        return (
            f"got the address {shown}; this server fetches nothing: send the bytes as a data URI "
            "(data:image/png;base64,…). Whoever runs it may turn fetching on: sensorium serve … --allow-urls"
        )
    return f"got {shown}, which is no data URI; files and addresses of other kinds are never opened"
