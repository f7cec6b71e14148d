"""Sound bytes -> Audio: mono float32[T] in [-1, 1] at the rate asked for.

bytes -> kind by signature -> libsndfile, or FFmpeg where that fails -> mean of channels -> soxr -> Audio
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import soundfile
import soxr
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from sensorium.media.boundary import refusing
from sensorium.media.container import CODECS, DEMUXERS, opened
from sensorium.media.limits import LIMITS, Limits
from sensorium.media.signatures import HEAD, kind_of
from sensorium.media.source import Source, Stream, as_source
from sensorium.media.types import Audio, MediaError

ACCEPTED = "WAV, FLAC, OGG (Vorbis, Opus), MP3 or M4A (AAC), or the sound track of MP4, WebM, MKV or AVI"

_LIBSNDFILE_KINDS = ("WAV sound", "FLAC sound", "OGG sound", "MP3 sound")
SPEEDS = (0.5, 2.0)  # beyond, nobody speaks so
_RATES = (1_000, 768_000)  # samples per second that recordings have; others are damage or an attack
_BLOCK = 2**18  # samples of all channels decoded at once
_DENSEST = 8 * 192_000  # samples of all channels a second that the limit on seconds stands for
_LOUDEST = 16.0  # a float file may exceed full scale (clipped); 24 dB beyond it, it is not in [-1, 1] at all
_UNKNOWN_LENGTH = 2**62  # libsndfile's frame count for files that do not state one is about 2**63


def decode(
    media: Source | bytes | str | os.PathLike, limits: Limits = LIMITS, rate: int = 16_000, speed: float = 1.0
) -> Audio:
    """Mono sound at `rate` samples per second (bytes are a file's content, a string is its path).

    speed: play it so many times as fast, and so much higher, as another speaker might (Ko et al. 2015, "Audio
        Augmentation for Speech Recognition", section 2: 0.9, 1 and 1.1)

    Channels are averaged; samples beyond full scale are clipped. Sound of a video file starts where its
    track starts.

    Raises `MediaError` for other formats, damaged files, files without sound or without a single sample, and
    beyond the limits: seconds are counted while decoding, so a small file that unpacks to hours stops early.
    """
    if not isinstance(rate, int) or not _RATES[0] <= rate <= _RATES[1]:
        raise ValueError(f"rate: got {rate!r}; expected whole samples per second, such as 16000")
    if not SPEEDS[0] <= speed <= SPEEDS[1]:
        raise ValueError(f"speed: got {speed!r}; expected {SPEEDS[0]} to {SPEEDS[1]} times as fast")
    made = rate / speed  # samples a second; read at `rate`, they are over sooner
    source = as_source("audio", media)
    with source.open(limits) as stream:
        kind = kind_of(stream.read(HEAD))
    if kind not in DEMUXERS:
        raise MediaError(source.name, kind, ACCEPTED)
    with refusing(source.name, kind, ACCEPTED):
        if kind in _LIBSNDFILE_KINDS:
            try:
                return Audio(_by_libsndfile(source, limits, made), rate)
            except soundfile.LibsndfileError:
                pass  # a codec it does not have (ADPCM variants, Speex …): FFmpeg judges
        return Audio(_by_ffmpeg(source, limits, made), rate)


def _by_libsndfile(source: Source, limits: Limits, rate: float) -> np.ndarray:
    with source.open(limits) as stream:
        missing = _missing_from_wav(stream)
        if missing > 0:  # libsndfile would return what there is, in silence
            raise MediaError(source.name, f"WAV sound cut short by {missing:,} bytes", "complete files")
        guessed = _is_mp3_of_unknown_length(stream)
        stream.seek(0)
        with soundfile.SoundFile(stream) as sound:
            length = None if guessed or sound.frames >= _UNKNOWN_LENGTH else sound.frames
            if length is not None and length > limits.seconds * sound.samplerate:
                raise _too_long(source, length / sound.samplerate, limits)
            blocks = _libsndfile_blocks(source, sound, length, limits)
            return _collect(source, blocks, sound.samplerate, limits, rate)


def _libsndfile_blocks(
    source: Source, sound: soundfile.SoundFile, length: int | None, limits: Limits
) -> Iterator[np.ndarray]:
    rows, done = max(1, _BLOCK // sound.channels), 0
    while len(block := sound.read(rows, dtype="float32", always_2d=True)):
        done += len(block)
        _check_work(source, done * sound.channels, limits)
        yield block.mean(axis=1)
    if length is not None and done < length:
        got = f"sound that breaks off after {done:,} of {length:,} samples"
        raise MediaError(source.name, got, "complete files")


def _is_mp3_of_unknown_length(stream: Stream) -> bool:
    """True for MPEG sound whose first frame does not count the frames ("Xing" or "Info").

    libsndfile then guesses the length from the first bit rate, wrong by far when the rate varies.
    """
    stream.seek(0)
    head = stream.read(10)
    if head[:3] == b"ID3":  # ID3v2 §3.1: seven bits in each byte of the size
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))
        stream.seek(10 + size)
    elif head[:1] == b"\xff":
        stream.seek(0)
    else:
        return False
    first = stream.read(64)  # the mark follows the header and 9 to 32 bytes of side information
    return b"Xing" not in first and b"Info" not in first


def _missing_from_wav(stream: Stream) -> int:
    """Bytes that the data chunk of a RIFF WAVE file states beyond the end of the file; 0 for other files.

    Recorders that write into a pipe state a length of 0 or near 2**31 or 2**32, which says nothing.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if stream.read(4) != b"RIFF":
        return 0
    place = 12
    while stream.seek(place) + 8 <= size:
        name, stated = stream.read(4), int.from_bytes(stream.read(4), "little")
        if name == b"data":
            return max(0, place + 8 + stated - size) if stated < 0x7FFFF000 else 0
        place += 8 + stated + stated % 2
    return 0


def _by_ffmpeg(source: Source, limits: Limits, rate: float) -> np.ndarray:
    with opened(source, tuple(DEMUXERS), ACCEPTED, limits) as container:
        track = container.streams.best("audio")
        if track is None:
            raise MediaError(source.name, "a video without a sound track", ACCEPTED)
        assert isinstance(track, AudioStream)
        codec = track.codec_context
        if codec is None or codec.name not in CODECS:
            raise MediaError(source.name, f"sound compressed as {codec and codec.name}", ACCEPTED)

        def blocks() -> Iterator[np.ndarray]:
            done = 0
            for frame in container.decode(track):
                done += frame.samples * frame.layout.nb_channels
                _check_work(source, done, limits)
                if frame.sample_rate != codec.sample_rate:
                    raise MediaError(source.name, "sound whose sample rate changes midway", ACCEPTED)
                yield _mono(frame)

        return _collect(source, blocks(), codec.sample_rate, limits, rate)


def _mono(frame: AudioFrame) -> np.ndarray:
    """float32[T] in [-1, 1] of FFmpeg's samples: planar [C, T] or packed [1, T * C], integers or floats."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return ((samples.astype(np.float32) - 128) / 128).mean(axis=0)
    if samples.dtype.kind == "i":
        return (samples / np.float32(2 ** (8 * samples.dtype.itemsize - 1))).mean(axis=0, dtype=np.float32)
    return samples.mean(axis=0, dtype=np.float32)


def _collect(
    source: Source, blocks: Iterator[np.ndarray], source_rate: int, limits: Limits, rate: float
) -> np.ndarray:
    """Mono float32[T] blocks -> one, resampled block by block so that memory holds the result only."""
    if not _RATES[0] <= source_rate <= _RATES[1]:
        raise MediaError(
            source.name, f"{source_rate} samples per second", f"{_RATES[0]} to {_RATES[1]} per second"
        )
    resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32") if source_rate != rate else None
    done, parts = 0, []
    for block in blocks:
        done += len(block)
        if done > limits.seconds * source_rate:
            raise _too_long(source, done / source_rate, limits)
        peak = float(np.abs(block).max(initial=0.0))
        if not peak <= _LOUDEST:  # also when it is not a number
            raise MediaError(source.name, f"samples as large as {peak:g}", "samples in [-1, 1]")
        parts.append(block if resampler is None else resampler.resample_chunk(block))
    if done == 0:
        raise MediaError(source.name, "sound without a single sample", "at least one sample")
    if resampler is not None:
        parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.clip(np.concatenate(parts), -1.0, 1.0)


def _check_work(source: Source, samples: int, limits: Limits) -> None:
    """Silence of 255 channels at 768 kHz is a file of some kilobytes and minutes of work."""
    if samples > limits.seconds * _DENSEST:
        raise MediaError(
            source.name,
            f"{samples:,} samples of all channels or more",
            f"at most {limits.seconds * _DENSEST:,.0f}: fewer channels, a lower rate, or Limits(seconds=…)",
        )


def _too_long(source: Source, seconds: float, limits: Limits) -> MediaError:
    return MediaError(
        source.name,
        f"{seconds:,.1f} seconds of sound or more",
        f"at most {limits.seconds:,.1f} (raise it with Limits(seconds=…))",
    )
