import numpy as np
import pytest

from sensorium.data.puzzles import prosody
from sensorium.media import Audio

RATE = 16_000


def tone(seconds: float = 1.0, pitch: float = 300.0) -> Audio:
    times = np.arange(int(seconds * RATE)) / RATE
    return Audio((0.2 * np.sin(2 * np.pi * pitch * times)).astype(np.float32), RATE)


def pitch_of(samples: np.ndarray) -> float:
    """By its rising crossings of zero."""
    crossings = np.flatnonzero((samples[:-1] < 0) & (samples[1:] >= 0))
    return RATE * (len(crossings) - 1) / (crossings[-1] - crossings[0])


@pytest.mark.parametrize("sign", [1, -1])
def test_speed_and_pitch_change_by_one_factor(sign):
    changed = prosody.said(tone(), sign, "a")
    factor = pitch_of(changed.samples) / 300
    low, high = sorted(bound**sign for bound in prosody.FACTOR)
    assert low - 0.01 < factor < high + 0.01
    assert changed.seconds == pytest.approx(1 / factor, rel=0.01)
    assert changed.rate == RATE


@pytest.mark.parametrize("sign", [1, -1])
def test_pitch_and_energy_rise_when_lively_and_fall_when_flat(sign):
    samples = prosody.said(tone(2.0), sign, "b").samples
    first, last = samples[: len(samples) // 4], samples[-len(samples) // 4 :]
    # Means of the outer quarters lie at -0.75 and 0.75 of the way from the middle to the ends.
    bends = pitch_of(last) / pitch_of(first)
    assert bends == pytest.approx(((1 + 0.75 * prosody.BEND) / (1 - 0.75 * prosody.BEND)) ** sign, rel=0.01)
    decibels = 20 * np.log10(np.std(last) / np.std(first))
    assert decibels == pytest.approx(sign * 1.5 * prosody.SLOPE, abs=0.3)


def test_the_level_is_that_of_the_sign_whatever_it_was():
    quiet = Audio(tone().samples * 0.01, RATE)
    for audio in (tone(), quiet):
        for sign, level in prosody.LEVEL.items():
            decibels = 20 * np.log10(np.std(prosody.said(audio, sign, "c").samples))
            assert abs(decibels - level) <= prosody.LEVEL_SPREAD + 0.1


def test_it_depends_on_the_seed_alone():
    one, same, other = (prosody.said(tone(), 1, seed).samples for seed in "aab")
    assert (one == same).all()
    assert len(one) != len(other)


def test_silence_stays_silence():
    assert not prosody.said(Audio(np.zeros(1600, np.float32), RATE), 1, "d").samples.any()
