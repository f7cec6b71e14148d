"""Video -> an MP4 file that players and `sensorium.media` open.

Video -> H.264 in 4:2:0, one frame after another at an even rate
"""

from __future__ import annotations

import os
from fractions import Fraction

import av
import numpy as np

from sensorium.media.types import Video

QUALITY = "10"  # libx264's constant rate factor, 0 (lossless) to 51: drawings keep their edges
TICKS = 12_800  # a second, as fine as the times are kept


def write_video(video: Video, path: str | os.PathLike) -> None:
    """Every frame once, at an even rate from the first time to the last; an odd side gains a row or column.

    Raises ValueError for fewer than two frames, or times that do not rise.
    """
    frames, times = video.frames, np.asarray(video.times, float)
    if len(frames) < 2 or len(times) != len(frames) or not (np.diff(times) > 0).all():
        raise ValueError(
            f"write_video: got {len(frames)} frames at times {times.tolist()}; expected two or more, at rising times"
        )
    step = round((times[-1] - times[0]) / (len(times) - 1) * TICKS)
    even = [(0, 0), *((0, side % 2) for side in frames.shape[1:3]), (0, 0)]
    whole = np.pad(frames, even, mode="edge")
    with av.open(os.fspath(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(TICKS, step), options={"crf": QUALITY})
        stream.height, stream.width, stream.pix_fmt = whole.shape[1], whole.shape[2], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        for place, picture in enumerate(whole):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            frame.pts, frame.time_base = place * step, Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
