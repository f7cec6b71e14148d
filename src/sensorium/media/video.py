"""Video bytes -> Video: frames sampled by time, with the times at which they are shown.

bytes -> kind by signature -> packet times (what lasts how long, measured) -> wanted frames -> Video
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from sensorium.media.boundary import refusing
from sensorium.media.container import CODECS, VIDEO_KINDS, opened
from sensorium.media.limits import LIMITS, Limits
from sensorium.media.source import Source, as_source
from sensorium.media.types import Audio, MediaError, Video

ACCEPTED = "MP4, WebM, MKV or AVI"
_REACH = 500  # times the limit on pixels that may be decoded to reach the frames that are kept


def decode(
    media: Source | bytes | str | os.PathLike,
    limits: Limits = LIMITS,
    frames: int = 8,
    fps: float | None = None,
    short_side: int | None = None,
) -> Video:
    """Frames of a video (bytes are its content, a string is its path), sampled evenly over its duration.

    frames:     that many, each shown in the middle of its equal share of the duration; all of a video that
                has fewer. The times returned are those of the frames taken, in seconds from the first frame
    fps:        instead, one frame every 1/fps seconds from the start
    short_side: scales larger frames down to it

    The duration is measured from the packets; headers may state none or a wrong one. Frames are turned as the
    file's display matrix asks, and a video that changes size midway keeps its first size.

    Raises `MediaError` for other formats, damaged files, files without pictures, and beyond the limits.
    """
    if fps is None and not 0 < frames <= limits.frames:
        raise ValueError(f"frames: got {frames}; expected 1 to {limits.frames} (the limit: Limits(frames=…))")
    if fps is not None and not fps > 0:
        raise ValueError(f"fps: got {fps}; expected frames per second, such as 1.0")
    source = as_source("video", media)
    with (
        refusing(source.name, "video", ACCEPTED),
        opened(source, VIDEO_KINDS, ACCEPTED, limits) as container,
    ):
        track = _picture_track(source, container)
        timeline = _measure(source, container, track, limits)
        wanted = timeline.at(_moments(source, timeline.seconds, frames, fps, limits))
        pictures: list[np.ndarray] = []
        ticks: list[int] = []
        codec = track.codec_context
        size = _fitting((codec.width, codec.height), short_side)
        _check_size(source, (codec.width, codec.height), size, len(wanted), limits)
        for frame, tick in _take(source, container, track, timeline, wanted, limits):
            if not pictures:  # the header may have lied, or been silent
                size = _fitting((frame.width, frame.height), short_side)
            _check_size(source, (frame.width, frame.height), size, len(wanted), limits)
            pictures.append(_to_rgb(frame, size))
            ticks.append(tick)
        if not pictures:
            raise MediaError(source.name, "a video of which no frame can be decoded", ACCEPTED)
        return Video(np.stack(pictures), (np.array(ticks) - timeline.starts[0]) * timeline.tick)


def decode_sound(
    media: Source | bytes | str | os.PathLike, limits: Limits = LIMITS, rate: int = 16_000
) -> Audio:
    """The sound track of a video as `audio.decode` gives it; `MediaError` when it has none."""
    from sensorium.media import audio  # soundfile and soxr only where sound is wanted

    return audio.decode(as_source("video", media), limits=limits, rate=rate)


@dataclass(frozen=True)
class _Timeline:
    """When frames are shown, in ticks. starts: int64[N] ascending; keys: int64[K], those to seek to; end."""

    starts: np.ndarray
    keys: np.ndarray
    end: int
    tick: float  # seconds

    @property
    def seconds(self) -> float:
        return (self.end - int(self.starts[0])) * self.tick

    def at(self, moments: np.ndarray) -> np.ndarray:
        """float[M] seconds -> int64[<= M] the distinct ticks of the frames on show then."""
        ticks = moments / self.tick + self.starts[0]
        index = np.searchsorted(self.starts, ticks + 0.5, side="right") - 1
        return np.unique(self.starts[np.clip(index, 0, None)])


def _picture_track(source: Source, container: InputContainer) -> VideoStream:
    for track in container.streams.video:
        if track.disposition & Disposition.attached_pic:  # cover art of a song
            continue
        codec = track.codec_context
        if codec is None or codec.name not in CODECS:
            raise MediaError(source.name, f"a video compressed as {codec and codec.name}", ACCEPTED)
        return track
    raise MediaError(source.name, "a file without a video track", ACCEPTED)


def _measure(source: Source, container: InputContainer, track: VideoStream, limits: Limits) -> _Timeline:
    """Reads the packets without decoding them. Stops as soon as they span more than the limit."""
    assert track.time_base is not None
    tick = float(track.time_base)
    starts, keys = [], []
    first = end = None
    for packet in container.demux(track):
        start = packet.pts if packet.pts is not None else packet.dts
        if start is None or packet.size == 0 or packet.is_discard:
            continue
        starts.append(start)
        if packet.is_keyframe:
            keys.append(start)
        first = start if first is None else min(first, start)
        stop = start + max(packet.duration or 0, 0)
        end = stop if end is None else max(end, stop)
        if (end - first) * tick > limits.seconds:
            raise MediaError(
                source.name,
                f"{(end - first) * tick:,.1f} seconds of video or more",
                f"at most {limits.seconds:,.1f} (raise it with Limits(seconds=…))",
            )
    if first is None or end is None:
        raise MediaError(source.name, "a video without a single frame", ACCEPTED)
    return _Timeline(np.unique(starts), np.unique(keys or [first]), end, tick)


def _moments(source: Source, seconds: float, frames: int, fps: float | None, limits: Limits) -> np.ndarray:
    """The times to sample, in seconds from the first frame."""
    if fps is None:
        return (np.arange(frames) + 0.5) * seconds / frames
    count = max(1, int(np.ceil(seconds * fps - 1e-6)))
    if count > limits.frames:
        raise MediaError(
            source.name,
            f"{count:,} frames ({seconds:,.1f} seconds at {fps:g} per second)",
            f"at most {limits.frames:,} (lower fps, or raise it with Limits(frames={count}))",
        )
    return np.arange(count) / fps


def _take(
    source: Source,
    container: InputContainer,
    track: VideoStream,
    timeline: _Timeline,
    wanted: np.ndarray,
    limits: Limits,
) -> Iterator[tuple[VideoFrame, int]]:
    """(frame, its tick) of the wanted ticks, in order.

    Decodes from the last key frame before each one, or simply on when that lies behind already. Frames in which
    nothing moves take a few bytes each, so that how many are decoded on the way is limited, too.
    """
    pixels = 0
    decoder: Iterator[VideoFrame] = iter(())
    position, last = None, None
    for tick in wanted:
        key = int(timeline.keys[max(0, np.searchsorted(timeline.keys, tick, side="right") - 1)])
        if position is None or key > position:
            container.seek(key, stream=track)
            decoder, position = container.decode(track), None
        while position is None or position < tick:
            frame = next(decoder, None)
            if frame is None:
                break
            pixels += frame.width * frame.height
            if pixels > _REACH * limits.pixels:
                raise MediaError(
                    source.name,
                    f"a video of which more than {_REACH * limits.pixels:,} pixels lie before the wanted frames",
                    "shorter or smaller videos, key frames closer together, or Limits(pixels=…)",
                )
            if frame.pts is not None:
                held, position = frame, frame.pts
        if position is not None and position != last:
            last = position
            yield held, position


def _fitting(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    """(width, height) with the shorter side at most `short_side` and the same shape."""
    if short_side is None or min(size) <= short_side:
        return size
    scale = short_side / min(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _check_size(
    source: Source, stored: tuple[int, int], returned: tuple[int, int], count: int, limits: Limits
) -> None:
    """One frame as stored, and all the kept ones as returned, must fit the limit on pixels."""
    pixels = max(stored[0] * stored[1], returned[0] * returned[1] * count)
    if pixels > limits.pixels:
        raise MediaError(
            source.name,
            f"{count} frames of {returned[0]} × {returned[1]}, stored as {stored[0]} × {stored[1]}",
            f"at most {limits.pixels:,} pixels (fewer frames=, a short_side= or Limits(pixels={pixels}))",
        )


def _to_rgb(frame: VideoFrame, size: tuple[int, int]) -> np.ndarray:
    """uint8[H, W, 3], turned as the display matrix says: degrees counter-clockwise, multiples of 90."""
    picture = frame.to_ndarray(format="rgb24", width=size[0], height=size[1], interpolation="BICUBIC")
    return np.rot90(picture, round(frame.rotation / 90))
