"""Tiny media files, made here by the encoders, so that every expected value is known."""

import io
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

TONE = 440.0  # Hz


def picture(array_or_image, format, **options) -> bytes:
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def tone(seconds=2.0, rate=44_100, right=1.0) -> np.ndarray:
    """float32[T, 2]: a tone at half of full scale on the left, `right` times it on the right."""
    left = 0.5 * np.sin(2 * np.pi * TONE * np.arange(round(seconds * rate)) / rate)
    return np.stack([left, right * left], axis=1).astype(np.float32)


def sound(format, subtype, seconds=2.0, rate=44_100, samples=None) -> bytes:
    out = io.BytesIO()
    samples = tone(seconds, rate) if samples is None else samples
    soundfile.write(out, samples, rate, format=format, subtype=subtype)
    return out.getvalue()


def _mux_sound(container, stream, seconds, rate):
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone(seconds, rate).T), "fltp", "stereo")
    frame.sample_rate, frame.pts = rate, 0
    codec = stream.codec_context
    cutter = av.AudioResampler(codec.format.name, "stereo", rate, frame_size=codec.frame_size)
    for piece in [*cutter.resample(frame), *cutter.resample(None)]:
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))


def ffmpeg_sound(container_format, codec, seconds=2.0, rate=44_100) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container_format) as container:
        _mux_sound(container, container.add_stream(codec, rate=rate, layout="stereo"), seconds, rate)
    return out.getvalue()


def red_at(time, seconds=4.0):
    """The red level that a test video shows at a time."""
    return 30 + 200 * time / seconds


class Pipe:
    """What a recorder writes into when it cannot go back and correct the header."""

    def __init__(self):
        self.content = bytearray()

    def write(self, data):
        self.content += data
        return len(data)


def video(
    container_format="mp4", codec="libx264", seconds=4.0, fps=25, size=(64, 48), pixels="yuv420p", gop=12,
    sound_codec=None, piped=False, options=None,
) -> bytes:  # fmt: skip
    """Frames whose red rises with time (`red_at`); green 128; blue 0 in the upper half, 128 in the lower."""
    out = Pipe() if piped else io.BytesIO()
    width, height = size
    with av.open(out, "w", format=container_format, options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, pixels, gop
        stream.bit_rate = 2_000_000  # plenty, so that colours come back
        if codec in ("libx264", "mpeg4"):
            stream.max_b_frames = 2  # frames stored in another order than shown
        track = container.add_stream(sound_codec, rate=48_000, layout="stereo") if sound_codec else None
        for index in range(round(seconds * fps)):
            array = np.full((height, width, 3), 128, np.uint8)
            array[..., 0] = red_at(index / fps, seconds)
            array[: height // 2, :, 2] = 0
            frame = av.VideoFrame.from_ndarray(array, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            _mux_sound(container, track, seconds, 48_000)
    return bytes(out.content) if piped else out.getvalue()


@pytest.fixture(scope="session")
def make():
    return SimpleNamespace(
        picture=picture, tone=tone, sound=sound, ffmpeg_sound=ffmpeg_sound, video=video, red_at=red_at
    )


@pytest.fixture(scope="session")
def pictures(make) -> dict[str, bytes]:
    """One small picture of every accepted format and several modes."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    rgb, rgba = Image.fromarray(noise[..., :3]), Image.fromarray(noise)
    deep = noise[..., 0].astype(np.uint16) * 257
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "png": picture(rgba, "PNG"),
        "png palette": picture(rgb.quantize(16), "PNG", transparency=3),
        "png 16": picture(deep, "PNG"),
        "jpeg": picture(rgb, "JPEG", exif=turned),
        "jpeg progressive": picture(rgb, "JPEG", progressive=True),
        "jpeg cmyk": picture(rgb.convert("CMYK"), "JPEG"),
        "webp": picture(rgba, "WEBP"),
        "webp lossless": picture(rgba, "WEBP", lossless=True),
        "gif": picture(rgb.quantize(8), "GIF", save_all=True, append_images=[rgb.quantize(8).rotate(180)]),
        "bmp": picture(rgb, "BMP"),
        "tiff": picture(rgba, "TIFF"),
        "tiff lzw": picture(rgb, "TIFF", compression="tiff_lzw"),
        "tiff 16": picture(deep, "TIFF", compression="tiff_adobe_deflate"),
    }


@pytest.fixture(scope="session")
def sounds(make) -> dict[str, bytes]:
    """Two seconds of a 440 Hz tone in stereo, in every accepted format (Opus knows no 44.1 kHz)."""
    return {
        "wav": sound("WAV", "PCM_16"),
        "wav 24": sound("WAV", "PCM_24"),
        "wav float": sound("WAV", "FLOAT"),
        "flac": sound("FLAC", "PCM_16"),
        "ogg": sound("OGG", "VORBIS"),
        "opus": sound("OGG", "OPUS", rate=48_000),
        "mp3": sound("MP3", "MPEG_LAYER_III"),
        "m4a": ffmpeg_sound("ipod", "aac"),
        "m4a alac": ffmpeg_sound("ipod", "alac"),
        "webm": ffmpeg_sound("webm", "libopus", rate=48_000),
        "wav adpcm": ffmpeg_sound("wav", "adpcm_ima_wav"),
    }


@pytest.fixture(scope="session")
def videos(make) -> dict[str, bytes]:
    """Four seconds in every accepted format, some as broken as recorders leave them."""
    fragments = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    return {
        "mp4": video(sound_codec="aac"),
        "mp4 one key frame": video(gop=1000),
        "mp4 fragmented": video(options=fragments, piped=True),
        "mov": video("mov", "mpeg4"),
        "webm vp9": video("webm", "libvpx-vp9", sound_codec="libopus"),
        "webm vp8 without duration": video("webm", "libvpx", piped=True),
        "mkv": video("matroska", "libx264"),
        "avi": video("avi", "mpeg4"),
        "avi mjpeg": video("avi", "mjpeg", pixels="yuvj420p"),
    }
