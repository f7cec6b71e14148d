"""Drawings as small WebP files with alpha.

SVG | PNG -> RGBA cropped by alpha -> WebP bytes
"""

from __future__ import annotations

import io

from PIL import Image

ALPHA_SEEN = 8  # of 255: fainter pixels do not widen the crop


def render_svg(svg: str, side: int) -> Image.Image:
    """RGBA picture of an SVG, its width `side` pixels.

    dpi 96 is needed where sizes are in pt or mm; no system fonts, for they differ between machines.
    """
    import resvg_py  # of the extra `tools`, needed by nothing else

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
