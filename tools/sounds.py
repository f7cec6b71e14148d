"""Sound files as small Ogg Opus files, the same bytes each time.

WAV | OGG -> mono at 16 kHz -> Ogg Opus bytes
"""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

RATE = 16_000  # samples per second
PACKET = 320  # samples, 20 ms


def read(path: Path) -> np.ndarray:
    """float32[T] in [-1, 1] at RATE: the mean of the channels, resampled."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.clip(soxr.resample(samples.mean(axis=1), rate, RATE), -1, 1).astype(np.float32)


def opus(samples: np.ndarray, *, bits_a_second: int, application: str) -> bytes:
    """Ogg Opus of float32[T] at RATE. `bitexact` keeps a random stream number out of the file.

    application: "voip" for speech, "audio" for other sounds (libopus' own names)
    """
    file = io.BytesIO()
    with av.open(file, "w", format="ogg", container_options={"fflags": "+bitexact"}) as container:
        options = {"application": application, "vbr": "on", "compression_level": "10"}
        stream = container.add_stream("libopus", rate=RATE, layout="mono", options=options)
        stream.bit_rate = bits_a_second
        for start in range(0, len(samples), PACKET):
            block = np.ascontiguousarray(samples[None, start : start + PACKET])
            frame = av.AudioFrame.from_ndarray(block, format="flt", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
