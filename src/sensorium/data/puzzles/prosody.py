"""How something is said: a recording changed into a lively or a flat one, its words kept.

Audio -> Audio, faster, higher, louder and rising, or slower, lower, softer and falling
"""

from __future__ import annotations

import random

import numpy as np
import soxr

from sensorium.media import Audio

# Of the whole recording: how much faster and higher when lively; as much slower and lower when flat. 1.12 is two
# semitones, 1.26 is four: within what speakers do between joy and sadness.
FACTOR = (1.12, 1.26)
BEND = 0.10  # how far speed and pitch rise (lively) or fall (flat) from the middle to either end
LEVEL = {1: -18.0, -1: -27.0}  # dB of full scale, mean square
LEVEL_SPREAD = 3.0  # dB either way
SLOPE = 4.0  # dB from the middle to either end
PEAK = 0.98  # of full scale


def said(audio: Audio, sign: int, seed: str) -> Audio:
    """The recording said in a lively (+1) or a flat (-1) way; by how much is drawn by the seed.

    Speed and pitch change together, as when a tape runs faster. Read at twice the rate, so that what is
    interpolated between samples stays free of images.
    """
    draw = random.Random(f"prosody/{seed}/{sign}")
    factor = draw.uniform(*FACTOR) ** sign
    twice = soxr.resample(audio.samples, 1, 2)
    # Speed at output sample t of `count`: factor * (1 + sign * BEND * x), x from -1 to 1; its integral is the place.
    count = int(len(twice) / factor)
    x = np.linspace(-1, 1, count)
    places = (x + sign * BEND * (x**2 - 1) / 2 + 1) * (len(twice) - 1) / 2
    samples = soxr.resample(np.interp(places, np.arange(len(twice)), twice), 2, 1)
    ramp = np.linspace(-1, 1, len(samples)) * sign * SLOPE
    samples = samples * 10 ** (ramp / 20)
    level = LEVEL[sign] + draw.uniform(-LEVEL_SPREAD, LEVEL_SPREAD)
    samples *= 10 ** (level / 20) / max(float(np.sqrt(np.mean(samples**2))), 1e-6)
    samples *= min(1.0, PEAK / max(float(np.abs(samples).max()), 1e-6))
    return Audio(samples.astype(np.float32), audio.rate)
