"""Drawings as small WebP files with alpha, and how alike two of them look.

SVG | PNG -> RGBA cropped by alpha -> WebP bytes; RGBA -> signature -> distance
"""

from __future__ import annotations

import io

import numpy as np
import resvg_py
from PIL import Image

ALPHA_SEEN = 8  # of 255: fainter pixels do not widen the crop
SIGNATURE_SIDE = 24  # pixels: fine enough to tell two faces by their mouths


def render_svg(svg: str, side: int) -> Image.Image:
    """RGBA picture of an SVG, its width `side` pixels.

    dpi 96 is needed where sizes are in pt or mm; no system fonts, for they differ between machines.
    """
    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, dpi=96, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def crop_and_shrink(picture: Image.Image, side: int) -> Image.Image:
    """RGBA cropped to what is seen, its long side at most `side` pixels (never enlarged).

    Raises ValueError for a picture in which nothing is seen.
    """
    alpha = picture.convert("RGBA").getchannel("A").point(lambda a: 255 * (a >= ALPHA_SEEN))
    box = alpha.getbbox()
    if box is None:
        raise ValueError("got a picture whose every pixel is transparent; expected one with something on it")
    cropped = picture.convert("RGBA").crop(box)
    scale = side / max(cropped.size)
    if scale < 1:  # Pillow resizes RGBA with premultiplied alpha: hidden colours do not bleed in
        size = tuple(max(1, round(n * scale)) for n in cropped.size)
        cropped = cropped.resize(size, Image.Resampling.LANCZOS)
    return cropped


def webp(picture: Image.Image, quality: int) -> bytes:
    """Lossy WebP with few levels of alpha (mean error 0.3 of 255): all of them would be half of the file.

    Method 5: 6 is 80 times slower where alpha is lossless, for 1 % of the bytes.
    """
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=quality, method=5, alpha_quality=60, exact=False)
    return file.getvalue()


def signature(picture: Image.Image) -> np.ndarray:
    """float32[2·S·S·3]: an RGBA drawing centred on a square, small, laid on mid grey; then its alpha alone.

    Comparing both keeps a grey cloud from a grey box, and a red heart from a blue one.
    """
    square = Image.new("RGBA", (max(picture.size),) * 2, (0, 0, 0, 0))
    square.paste(picture, ((square.width - picture.width) // 2, (square.height - picture.height) // 2))
    small = square.resize((SIGNATURE_SIDE,) * 2, Image.Resampling.BOX)
    rgba = np.asarray(small, np.float32) / 255
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    return np.concatenate([(colour * alpha + 0.5 * (1 - alpha)).ravel(), np.repeat(alpha, 3, -1).ravel()])


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """float32[N, K]: root mean square difference of every pair of signatures, 0 for equal, at most 1."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0) / a.shape[1])
