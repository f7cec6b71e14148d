"""Picture bytes -> RGB uint8[H, W, 3], or RGBA uint8[H, W, 4] where the mask matters.

bytes -> kind by signature -> size from the header, checked -> pixels -> turned -> laid on a ground
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL import Image as Pillow

from sensorium.media.boundary import refusing
from sensorium.media.limits import LIMITS, Limits
from sensorium.media.signatures import HEAD, kind_of
from sensorium.media.source import WHITE, Source, as_source
from sensorium.media.types import Image, MediaError

ACCEPTED = "PNG, JPEG, WebP, GIF (first frame), BMP or TIFF"

# The plugin is chosen here by signature, not by Pillow.Image.open, which would try others and whose limit
# on pixels is a global variable of the process.
_PLUGINS: dict[str, Callable[[io.BytesIO], Pillow.Image]] = {
    "PNG picture": PngImagePlugin.PngImageFile,
    "JPEG picture": JpegImagePlugin.JpegImageFile,
    "WebP picture": WebPImagePlugin.WebPImageFile,
    "GIF picture": GifImagePlugin.GifImageFile,
    "BMP picture": BmpImagePlugin.BmpImageFile,
    "TIFF picture": TiffImagePlugin.TiffImageFile,
}
_SCANS = (30, 1_000)  # of a JPEG of all the pixels that the limits allow; of any JPEG
_CHUNKS = 50_000  # of a PNG; those of pixels hold 8 kB and more each
_ORIENTATION = 0x0112  # tag of EXIF 2.3 §4.6.4; its values 2–8 say how to turn the stored picture
_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}


def decode(
    media: Source | bytes | str | os.PathLike,
    limits: Limits = LIMITS,
    ground: Sequence[int] = WHITE,
    short_side: int | None = None,
) -> Image:
    """RGB uint8[H, W, 3] of a picture (bytes are its content, a string is its path).

    Transparent places show `ground` (r, g, b), never the colours that a file hides under them. The EXIF
    orientation is applied. 16-bit pixels keep their upper 8 bits; CMYK, grey and palettes become RGB; colour
    profiles are not applied. `short_side` scales larger pictures down to it, which is several times faster
    for large JPEGs.

    Raises `MediaError` for other formats, truncated or damaged files, and beyond the limits (Pillow refuses
    WebP and one-strip TIFF beyond 179 million pixels whatever our limit).
    """
    picture = _read(as_source("image", media), limits, short_side)
    return _laid_on(picture, ground) if picture.mode == "RGBA" else np.array(picture)


def decode_rgba(
    media: Source | bytes | str | os.PathLike, limits: Limits = LIMITS, short_side: int | None = None
) -> np.ndarray:
    """RGBA uint8[H, W, 4] of a picture, not premultiplied (opaque files: alpha 255); else as `decode`."""
    return np.array(_read(as_source("image", media), limits, short_side).convert("RGBA"))


def lay_on(rgba: np.ndarray, ground: Sequence[int] = WHITE) -> Image:
    """uint8[H, W, 4] -> RGB uint8[H, W, 3] with `ground` (r, g, b) behind it."""
    return _laid_on(Pillow.fromarray(rgba), ground)


def crop_to_alpha(rgba: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """The part of uint8[H, W, 4] that shows anything, with a transparent margin (a share of its longer side).

    Raises ValueError when the whole picture is transparent.
    """
    visible = rgba[:, :, 3] > 0
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    if len(rows) == 0:
        raise ValueError(
            "crop_to_alpha: got a picture that is transparent everywhere; expected a visible part"
        )
    cropped = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pad = round(margin * max(cropped.shape[:2]))
    return np.pad(cropped, ((pad, pad), (pad, pad), (0, 0)))


def resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8[H, W, 3 or 4] -> uint8[height, width, 3 or 4], bicubic with antialiasing.

    Colours are weighted by alpha, so those hidden under transparent places do not bleed into the edge.
    """
    return np.array(Pillow.fromarray(picture).resize((width, height), Pillow.Resampling.BICUBIC))


def _read(source: Source, limits: Limits, short_side: int | None) -> Pillow.Image:
    """The picture, turned, in mode RGB or RGBA."""
    data = source.read(limits)
    kind = kind_of(data[:HEAD])
    if kind not in _PLUGINS:
        raise MediaError(source.name, kind, ACCEPTED)
    with refusing(source.name, kind, ACCEPTED):
        if kind == "WebP picture":  # whose canvas is allocated on opening
            _check_size(source, kind, _webp_size(data), limits)
        if kind == "PNG picture":
            _check_chunks(source, data)
        picture = _PLUGINS[kind](io.BytesIO(data))
        _check_size(source, kind, picture.size, limits)
        if kind == "JPEG picture":
            _check_scans(source, data, picture.size, limits)
        if short_side is not None and kind == "JPEG picture":
            # decodes at 1/2, 1/4 or 1/8 while both sides stay at least twice as long as asked for
            width, height = _shrunk(picture.size, short_side)
            picture.draft(None, (2 * width, 2 * height))
        picture.load()
        turn = _TURNS.get(_orientation(picture))
        picture = _to_rgb_or_rgba(source, picture)
        if short_side is not None and min(picture.size) > short_side:
            picture = picture.resize(_shrunk(picture.size, short_side), Pillow.Resampling.BICUBIC)
        return picture if turn is None else picture.transpose(turn)


def _laid_on(picture: Pillow.Image, ground: Sequence[int]) -> Image:
    r, g, b = ground
    behind = Pillow.new("RGBA", picture.size, (r, g, b, 255))
    return np.array(Pillow.alpha_composite(behind, picture).convert("RGB"))


def _check_size(source: Source, kind: str, size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.pixels:
        raise MediaError(
            source.name,
            f"{kind} of {width} × {height} = {width * height:,} pixels",
            f"at most {limits.pixels:,} pixels (raise it with Limits(pixels={width * height}))",
        )


def _check_scans(source: Source, data: bytes, size: tuple[int, int], limits: Limits) -> None:
    """A JPEG may be written in many scans, each of which goes over all pixels: 100 kB of them keep a processor busy for
    minutes. Encoders write up to some twenty; so many of the largest picture, or as much work on a smaller one, pass.
    """
    scans = data.count(b"\xff\xda")  # within a scan, 0xff is followed by 0 or a restart mark alone
    if scans > _SCANS[1] or scans * size[0] * size[1] > _SCANS[0] * limits.pixels:
        raise MediaError(
            source.name, f"JPEG picture in {scans:,} scans", f"at most {_SCANS[0]} scans of large ones"
        )


def _check_chunks(source: Source, data: bytes) -> None:
    """Each chunk of a PNG costs some microseconds to skip, and takes as little as 12 bytes."""
    place = 8
    for _ in range(_CHUNKS):
        if place >= len(data):
            return
        place += 12 + int.from_bytes(data[place : place + 4])
    raise MediaError(
        source.name, f"PNG picture of more than {_CHUNKS:,} chunks", f"at most {_CHUNKS:,} of them"
    )


def _shrunk(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(width, height) with the shorter side at most `short_side` and the same shape."""
    scale = min(1.0, short_side / min(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the canvas: RFC 9649 §2.5–2.7, and RFC 6386 §9.1 for lossy pictures."""
    chunk, body = data[12:16], data[20:30]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _orientation(picture: Pillow.Image) -> int:
    """The EXIF orientation; 1 (as stored) when the EXIF block is damaged, since the pixels are not."""
    try:
        with refusing("", "EXIF data", ""):
            found = picture.getexif().get(_ORIENTATION, 1)
    except MediaError:
        return 1
    return found if isinstance(found, int) else 1


def _to_rgb_or_rgba(source: Source, picture: Pillow.Image) -> Pillow.Image:
    if picture.mode.startswith("I;16"):
        grey = np.asarray(picture).astype(np.uint16)  # native byte order
        key = picture.info.get("transparency")
        picture = Pillow.fromarray((grey >> 8).astype(np.uint8))
        if isinstance(key, int):  # a PNG may name one grey as the transparent one
            picture = picture.convert("RGB")
            picture.putalpha(Pillow.fromarray(np.where(grey == key, 0, 255).astype(np.uint8)))
    elif picture.mode in ("I", "F", "LAB"):
        found = "a Lab colour space" if picture.mode == "LAB" else f"32-bit pixels (mode {picture.mode})"
        raise MediaError(source.name, found, f"{ACCEPTED} of 8 or 16 bits a channel")
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)  # convert copies in any case
