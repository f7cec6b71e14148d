import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sensorium.media import Limits, MediaError, Source
from sensorium.media import image as media_image

CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [90, 90, 90]]], np.uint8)
BLOCKS = CORNERS.repeat(16, axis=0).repeat(24, axis=1)  # 32 × 48: red, green / blue, grey


def corners(picture):
    """The colours near the four corners, rounded so that JPEG noise vanishes."""
    return np.round(picture[[4, 4, -5, -5], [4, -5, 4, -5], :3] / 32).astype(int).tolist()


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_lossless_formats_return_the_pixels(make, format, options):
    assert np.array_equal(media_image.decode(make.picture(BLOCKS, format, **options)), BLOCKS)


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lossy_formats_come_close(make, format):
    decoded = media_image.decode(make.picture(BLOCKS, format, quality=95))
    assert decoded.dtype == np.uint8
    assert decoded.shape == BLOCKS.shape
    assert corners(decoded) == corners(BLOCKS)
    inner = np.s_[1:14, 1:22]  # away from the edges, where both formats blur colour
    assert np.abs(decoded[inner].astype(int) - BLOCKS[inner]).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_shows_the_picture_upright(make, orientation):
    # what a camera stores so that undoing it by the tag gives BLOCKS
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](BLOCKS)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for format in ("JPEG", "PNG", "WEBP", "TIFF"):
        decoded = media_image.decode(make.picture(np.ascontiguousarray(stored), format, exif=exif))
        assert decoded.shape == BLOCKS.shape
        assert corners(decoded) == corners(BLOCKS)


def test_damaged_exif_does_not_cost_the_picture(make):
    data = make.picture(BLOCKS, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert corners(media_image.decode(data)) == corners(BLOCKS)


def test_alpha_is_laid_on_the_stated_ground_and_hides_what_lies_under_it(make):
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[..., :3] = (10, 200, 30)  # the hidden colour
    rgba[:, 1, 3], rgba[:, 2, 3] = 128, 255
    for options in (
        {"format": "PNG"},
        {"format": "WEBP", "lossless": True, "exact": True},
        {"format": "TIFF"},
    ):
        data = make.picture(rgba, **options)
        assert media_image.decode(data)[0].tolist() == [[255, 255, 255], [132, 227, 142], [10, 200, 30]]
        assert media_image.decode(data, ground=(0, 0, 255))[0].tolist() == [
            [0, 0, 255],
            [5, 100, 142],
            [10, 200, 30],
        ]
        assert np.array_equal(media_image.decode_rgba(data), rgba)
    assert np.array_equal(media_image.lay_on(rgba, (0, 0, 255)), media_image.decode(data, ground=(0, 0, 255)))


def test_transparency_of_palettes_and_greys_hides_colours_too(make):
    palette = Image.new("P", (2, 1))
    palette.putpalette([250, 0, 0, 0, 0, 250])
    palette.putdata([0, 1])
    grey = Image.fromarray(np.array([[70, 90]], np.uint8))
    grey_alpha = Image.fromarray(np.array([[[70, 0], [90, 255]]], np.uint8), "LA")
    deep = Image.fromarray(np.array([[70 * 256, 90 * 256]], np.uint16))
    blue, shade = [0, 0, 250], [90, 90, 90]
    for data, opaque in (
        (make.picture(palette, "PNG", transparency=0), blue),
        (make.picture(palette, "PNG", transparency=b"\0\xff"), blue),
        (make.picture(palette, "GIF", transparency=0), blue),
        (make.picture(grey, "PNG", transparency=70), shade),
        (make.picture(grey_alpha, "PNG"), shade),
        (make.picture(grey_alpha, "TIFF"), shade),
        (make.picture(deep, "PNG", transparency=70 * 256), shade),
        (make.picture(Image.fromarray(BLOCKS[:1, 23:25]), "PNG", transparency=(255, 0, 0)), [0, 255, 0]),
    ):
        assert media_image.decode(data, ground=(1, 2, 3))[0].tolist() == [[1, 2, 3], opaque]
        assert media_image.decode_rgba(data)[0, :, 3].tolist() == [0, 255]


def test_sixteen_bits_keep_their_upper_eight(make):
    deep = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    for format in ("PNG", "TIFF"):
        assert media_image.decode(make.picture(deep, format))[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    swapped = Image.frombytes("I;16B", (5, 1), deep.astype(">u2").tobytes())
    assert media_image.decode(make.picture(swapped, "TIFF"))[0, :, 1].tolist() == [0, 0, 1, 128, 255]


def test_cmyk_grey_and_bilevel_become_rgb(make):
    cmyk = Image.fromarray(BLOCKS).convert("CMYK")
    assert np.array_equal(media_image.decode(make.picture(cmyk, "TIFF")), BLOCKS)
    assert corners(media_image.decode(make.picture(cmyk, "JPEG", quality=95))) == corners(BLOCKS)
    grey = Image.fromarray(BLOCKS).convert("L")
    assert np.array_equal(media_image.decode(make.picture(grey, "PNG")), np.array(grey.convert("RGB")))
    bits = Image.fromarray(np.array([[True, False]]))
    assert media_image.decode(make.picture(bits, "PNG"))[0].tolist() == [[255] * 3, [0] * 3]


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_pixels_without_a_stated_white_are_refused(make, mode):
    picture = Image.new(mode, (4, 4))
    with pytest.raises(MediaError, match=r"accepted: .* of 8 or 16 bits a channel"):
        media_image.decode(make.picture(picture, "TIFF"))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation(make, format):
    first, second = Image.fromarray(BLOCKS), Image.fromarray(BLOCKS[::-1].copy())
    options = {"lossless": True} if format == "WEBP" else {}
    data = make.picture(first, format, save_all=True, append_images=[second], duration=100, **options)
    assert np.array_equal(media_image.decode(data), BLOCKS)


def png_claiming(width, height):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def test_the_limit_on_pixels_is_checked_before_anything_is_decoded(make, pictures):
    # a decoder started on this body would call it truncated
    with pytest.raises(
        MediaError, match=r"60000 × 60000 = 3,600,000,000 pixels; .*Limits\(pixels=3600000000\)"
    ):
        media_image.decode(png_claiming(60_000, 60_000))
    webp = bytearray(make.picture(np.zeros((2, 2, 4), np.uint8), "WEBP", lossless=True))
    webp[21:25] = (16382 | 16382 << 14).to_bytes(4, "little")
    with pytest.raises(MediaError, match="16383 × 16383"):
        media_image.decode(bytes(webp))
    for data in pictures.values():
        assert media_image.decode(data, Limits(pixels=600)).size == 1800
        with pytest.raises(MediaError, match=r"(20 × 30|30 × 20) = 600 pixels"):
            media_image.decode(data, Limits(pixels=599))


def test_jpegs_in_thousands_of_scans_are_refused(make):
    """Each scan goes over all pixels: a file of some 100 kB would take minutes."""
    whole = make.picture(np.zeros((60, 60, 3), np.uint8), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]

    def scanned(more):
        return whole[:-2] + more * last + whole[-2:]

    small, large = Limits(pixels=3600), Limits(pixels=36_000)
    for data, limits in ((whole, small), (scanned(15), small), (scanned(250), large)):
        assert media_image.decode(data, limits=limits).shape == (60, 60, 3)
    for data, limits in ((scanned(30), small), (scanned(300), large), (scanned(1000), Limits())):
        with pytest.raises(MediaError, match="scans"):
            media_image.decode(data, limits=limits)


def test_pngs_of_a_million_chunks_are_refused(pictures):
    png = pictures["png"]

    def filled(number):
        return png[:33] + number * (bytes(4) + b"fiLl" + zlib.crc32(b"fiLl").to_bytes(4)) + png[33:]

    assert media_image.decode(filled(10_000)).shape == (20, 30, 3)
    with pytest.raises(MediaError, match="chunks"):
        media_image.decode(filled(60_000))


def test_only_our_limit_on_pixels_counts_not_the_global_one_of_pillow(pictures, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name in ("png", "jpeg", "bmp", "gif"):
        assert media_image.decode(pictures[name]).size == 1800


def test_a_truncated_file_is_refused_or_had_all_its_pixels(pictures):
    for name, data in pictures.items():
        whole = media_image.decode(data)
        refused = 0
        for length in range(1, len(data), 5):
            try:
                assert np.array_equal(media_image.decode(data[:length]), whole), (name, length)
            except MediaError:
                refused += 1
        assert refused > 0.45 * len(range(1, len(data), 5)), name  # the GIF's second frame is not needed


def test_short_side_scales_larger_pictures_down_and_leaves_smaller_ones(make):
    large = BLOCKS.repeat(20, axis=0).repeat(20, axis=1)  # 640 × 960
    exif = Image.Exif()
    exif[0x0112] = 8
    turned = np.ascontiguousarray(np.rot90(large, -1))
    for data in (
        make.picture(large, "JPEG", quality=95),
        make.picture(turned, "JPEG", quality=95, exif=exif),
    ):
        scaled = media_image.decode(data, short_side=64)
        assert scaled.shape == (64, 96, 3)
        assert corners(scaled) == corners(BLOCKS)
        assert media_image.decode(data, short_side=640).shape == (640, 960, 3)
        assert media_image.decode(data, short_side=5000).shape == (640, 960, 3)


def test_crop_to_alpha_keeps_what_shows_with_its_margin():
    rgba = np.zeros((10, 20, 4), np.uint8)
    rgba[..., :3] = 9
    rgba[2:5, 6:16] = (50, 60, 70, 255)
    assert np.array_equal(media_image.crop_to_alpha(rgba), rgba[2:5, 6:16])
    padded = media_image.crop_to_alpha(rgba, margin=0.2)
    assert padded.shape == (3 + 4, 10 + 4, 4)
    assert padded[..., 3].sum() == 30 * 255
    assert np.array_equal(padded[2:5, 2:12], rgba[2:5, 6:16])
    with pytest.raises(ValueError, match="transparent everywhere"):
        media_image.crop_to_alpha(rgba[:2])


def test_resize_keeps_hidden_colours_out_of_the_edge():
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :, 1] = 255  # hidden green
    rgba[:, 4:] = (200, 0, 0, 255)
    small = media_image.resize(rgba, 3, 3)
    assert small.shape == (3, 3, 4)
    assert small[:, 1, 3].min() > 0
    assert small[small[..., 3] > 0][:, 1].max() == 0
    flat = np.full((5, 7, 3), 77, np.uint8)
    assert np.array_equal(media_image.resize(flat, 2, 9), np.full((2, 9, 3), 77))


def test_from_path_bytes_and_source_alike(tmp_path, make):
    data = make.picture(BLOCKS, "PNG")
    path = tmp_path / "photo.JPEG"  # the suffix is wrong, the content decides
    path.write_bytes(data)
    for media in (
        path,
        str(path),
        data,
        bytearray(data),
        Source("image", path=path),
        Source("image", data=data),
    ):
        assert np.array_equal(media_image.decode(media), BLOCKS)
    assert np.array_equal(
        Source("image", path=path).decode(short_side=16), media_image.decode(data, short_side=16)
    )
    assert np.array_equal(np.array(Image.open(io.BytesIO(data))), BLOCKS)
