"""The spectrogram equals transformers'; a sound's Features do not depend on its neighbours, in training either."""

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from sensorium.encoders.log_mel import FLOOR, HOP, WINDOW, MelCnnEncoder, hertz_of, mel_filters, mel_of
from sensorium.media import Audio


@pytest.mark.parametrize(
    ("bands", "window", "rate"), [(80, 400, 16_000), (64, 400, 16_000), (128, 2048, 44_100)]
)
def test_the_filter_bank_equals_that_of_transformers(bands, window, rate):
    want = mel_filter_bank(window // 2 + 1, bands, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(mel_filters(bands, window, rate), want.T, atol=1e-12)


def test_mels_are_linear_to_a_kilohertz_and_logarithmic_above():
    assert mel_of(1000.0) == pytest.approx(15.0)
    assert mel_of(6400.0) == pytest.approx(42.0)
    np.testing.assert_allclose(
        hertz_of(mel_of(np.linspace(0, 8000, 50))), np.linspace(0, 8000, 50), atol=1e-9
    )
    with pytest.raises(
        ValueError, match="of 400 mel bands lie between two frequencies of a 400-sample window"
    ):
        mel_filters(400)


def test_the_spectrogram_equals_that_of_transformers():
    encoder = MelCnnEncoder((8, 8), bands=64)
    wave = np.random.default_rng(0).normal(0, 0.1, 4 * HOP * 7).astype(np.float32)
    bank = mel_filter_bank(WINDOW // 2 + 1, 64, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    hann = window_function(WINDOW, "hann")
    options = {"power": 2.0, "mel_filters": bank, "mel_floor": FLOOR, "log_mel": "log10"}
    want = spectrogram(wave, hann, WINDOW, HOP, **options)
    got = encoder.prepare([Audio(wave, 16_000)])["mel"][0]
    np.testing.assert_allclose(got.numpy(), (want[:, :-1] + 4) / 4, atol=1e-4)
    silence = encoder.prepare([Audio(np.zeros(10, np.float32), 16_000)])["mel"]
    assert (silence.shape, float(silence.min()), float(silence.max())) == ((1, 64, 4), -1.0, -1.0)


def test_a_batch_gives_what_each_sound_gives_alone(sounds):
    encoder = MelCnnEncoder((8, 16), bands=32)
    encoder(encoder.prepare(sounds))  # statistics of their own
    encoder.eval()
    together = encoder.encode(sounds, dtype=torch.float32)
    assert together.mask.sum(1).tolist() == [encoder.token_count(sound) for sound in sounds] == [14, 23, 8, 1]
    for row, sound in enumerate(sounds):
        alone = encoder.encode([sound], dtype=torch.float32)
        n = encoder.token_count(sound)
        torch.testing.assert_close(together.tokens[row, :n], alone.tokens[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.pooled[row], alone.pooled[0], atol=1e-5, rtol=1e-4)


def test_padding_is_no_part_of_the_statistics_in_training(sounds):
    encoder = MelCnnEncoder((8, 16), bands=32).train()
    inputs = encoder.prepare(sounds[:2])
    more = {
        "mel": torch.nn.functional.pad(inputs["mel"], (0, 40), value=7.0),
        "mask": torch.nn.functional.pad(inputs["mask"], (0, 10)),
    }
    want, got = encoder(inputs), encoder(more)
    torch.testing.assert_close(got.pooled, want.pooled)
    torch.testing.assert_close(got.tokens[:, :-10], want.tokens)
    norm = encoder.norm_in.norm
    twice = inputs["mel"].transpose(1, 2)[inputs["mask"].repeat_interleave(4, 1)].mean(0)
    torch.testing.assert_close(norm.running_mean, twice * (1 - 0.9**2), atol=1e-5, rtol=1e-4)


def test_long_sounds_are_cut_and_impossible_sizes_refused(sounds, caplog):
    encoder = MelCnnEncoder((8, 8), bands=32, seconds=0.4)
    inputs = encoder.prepare(sounds)
    assert inputs["truncated"].tolist() == [True, True, False, False]
    assert inputs["mask"].sum(1).tolist() == [10, 10, 8, 1]
    assert "2 of 4 sounds are longer than 0.4 s" in caplog.text
    with pytest.raises(ValueError, match="got 20 bands and 3 stages"):
        MelCnnEncoder((8, 8, 8), bands=20)
    with pytest.raises(ValueError, match=r"seconds: got 0\.01; expected at least 0\.04"):
        MelCnnEncoder((8, 8), seconds=0.01)
