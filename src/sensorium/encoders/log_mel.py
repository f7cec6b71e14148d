"""Sound -> Features by a convolutional net over its log-mel spectrogram, from random weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.encoders.encoder import Encoder, masked_mean
from sensorium.encoders.whisper import at_rate
from sensorium.features import Features
from sensorium.media import Audio

logger = logging.getLogger(__name__)

RATE = 16_000  # samples a second
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
FLOOR = 1e-8  # power below which all is silence: the spectrogram's least value is (log10 FLOOR + 4) / 4 = -1
# Slaney's scale ("Auditory Toolbox", 1998): 200/3 Hz a mel up to 1 kHz, from there on 27 mels for a factor of 6.4.
LINEAR = 200.0 / 3.0
BEND = 1000.0  # Hz
LOGARITHMIC = math.log(6.4) / 27.0


def mel_of(hertz: np.ndarray | float) -> np.ndarray:
    """Hertz -> mels on Slaney's scale."""
    hertz = np.asarray(hertz, np.float64)
    above = BEND / LINEAR + np.log(np.maximum(hertz, BEND) / BEND) / LOGARITHMIC
    return np.where(hertz < BEND, hertz / LINEAR, above)


def hertz_of(mel: np.ndarray | float) -> np.ndarray:
    """Mels on Slaney's scale -> hertz; the inverse of `mel_of`."""
    mel = np.asarray(mel, np.float64)
    bend = BEND / LINEAR
    return np.where(mel < bend, mel * LINEAR, BEND * np.exp((np.maximum(mel, bend) - bend) * LOGARITHMIC))


def mel_filters(
    bands: int, window: int = WINDOW, rate: int = RATE, low: float = 0.0, high: float | None = None
) -> np.ndarray:
    """float64[bands, window / 2 + 1]: triangles at equal distances in mels, each of area 1 in hertz.

    The sum of a band's weights over the frequencies (in Hz) of a spectrum is 1, as in librosa and Whisper.
    Raises ValueError for more bands than the spectrum can tell apart.
    """
    high = rate / 2 if high is None else high
    if not 0 <= low < high <= rate / 2:
        raise ValueError(f"got low={low}, high={high}; expected 0 <= low < high <= {rate / 2:g} Hz")
    corners = hertz_of(np.linspace(mel_of(low), mel_of(high), bands + 2))
    frequencies = np.linspace(0, rate / 2, window // 2 + 1)
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)
    if (empty := int((filters.max(1) == 0).sum())) > 0:
        raise ValueError(
            f"{empty} of {bands} mel bands lie between two frequencies of a {window}-sample window: ask for fewer "
            "bands or a longer window"
        )
    return filters


class MelCnnEncoder(Encoder):
    """A spectrogram seen as a picture (Kong et al. 2020, arXiv:1912.10211, the CNN of section III-A, smaller).

        float32[T] ─► log-mel [1, bands, 2^K · n] ─► K stages: 2 × (3×3 convolution, norm, ReLU), mean 2×2
                   ─► mean over frequency ─► tokens float[B, n, D] ─► mean = pooled

    A token is 2^K frames of 10 ms (160 ms for four stages). Every sound is filled with silence to a whole token; what
    stands behind it in a batch is masked after every convolution and left out of the batch norm's statistics, so
    that a sound's Features do not depend on its neighbours' lengths.

    channels: of the K stages; the last is D
    bands:    of the spectrogram
    seconds:  what is longer is cut and reported
    """

    modality = "audio"

    def __init__(
        self, channels: Sequence[int] = (32, 64, 128, 256), bands: int = 64, seconds: float = 10.0
    ) -> None:
        super().__init__()
        self.channels, self.bands, self.seconds = tuple(channels), bands, float(seconds)
        if not self.channels or bands % 2 ** len(self.channels):
            raise ValueError(
                f"got {bands} bands and {len(self.channels)} stages; expected at least one stage, and bands that "
                "can be halved once a stage, such as 64 and 4"
            )
        self.frames = 2 ** len(self.channels)  # of a token
        if seconds * RATE < self.frames * HOP:
            raise ValueError(
                f"seconds: got {seconds}; expected at least {self.frames * HOP / RATE:g}, one token"
            )
        self.width = self.channels[-1]
        self.norm_in = RealNorm(bands)
        self.stages = nn.ModuleList(
            Stage(before, now) for before, now in zip((1, *self.channels[:-1]), self.channels, strict=True)
        )
        self.config = {"channels": list(self.channels)}
        self.preparation = (
            f"mono {RATE} Hz by soxr, silence to {self.frames * HOP / RATE * 1000:g} ms steps, log-mel {bands} bands, "
            f"window {WINDOW}, hop {HOP}, floor {FLOOR}, cut at {self.seconds:g} s"
        )

    def length(self, media: Audio) -> int:
        return len(media.samples) * RATE // media.rate

    def token_count(self, media: Audio) -> int:
        return self._tokens_of(len(at_rate(media, RATE)))

    def _tokens_of(self, samples: int) -> int:
        """Of so many samples at `RATE`."""
        samples = min(samples, round(self.seconds * RATE))
        return max(1, math.ceil(samples / (self.frames * HOP)))

    def prepare(self, media: Sequence[Audio]) -> dict[str, Tensor]:
        """Sounds -> {"mel": float32[B, bands, T · frames], "mask": bool[B, T], "truncated": bool[B]}."""
        longest = round(self.seconds * RATE)
        waves = [torch.from_numpy(at_rate(audio, RATE)) for audio in media]
        truncated = torch.tensor([len(wave) > longest for wave in waves], dtype=torch.bool)
        if truncated.any():
            logger.warning(
                "%d of %d sounds are longer than %g s and were cut", truncated.sum(), len(waves), self.seconds
            )
        counts = [self._tokens_of(len(wave)) for wave in waves]
        mel = torch.zeros(len(waves), self.bands, max(counts) * self.frames)
        for row, (wave, count) in enumerate(zip(waves, counts, strict=True)):
            mel[row, :, : count * self.frames] = self.log_mel(wave[:longest], count * self.frames)
        mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
        return {"mel": mel, "mask": mask, "truncated": truncated}

    def log_mel(self, wave: Tensor, frames: int) -> Tensor:
        """float32[T] at `RATE` -> float32[bands, frames]; -1 is silence, one unit is 40 dB."""
        wave = F.pad(wave, (0, frames * HOP - len(wave)))
        window = torch.hann_window(WINDOW)
        spectrum = torch.stft(wave, WINDOW, HOP, window=window, pad_mode="reflect", return_complex=True)
        power = self._filters @ spectrum[:, :frames].abs() ** 2
        return (power.clamp(min=FLOOR).log10() + 4) / 4

    @cached_property
    def _filters(self) -> Tensor:
        return torch.from_numpy(mel_filters(self.bands)).float()

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        mask = inputs["mask"]
        real = mask.repeat_interleave(self.frames, 1)  # bool[B, frames]
        x = self.norm_in(inputs["mel"][..., None].transpose(2, 3), real)  # [B, bands, 1, frames]
        x = x.transpose(1, 2)
        for stage in self.stages:
            x = F.avg_pool2d(stage(x, real), 2)
            real = real[:, ::2]
        tokens = x.mean(2).transpose(1, 2)  # over frequency: [B, T, D]
        return Features(tokens, mask, masked_mean(tokens, mask))


class Stage(nn.Module):
    """Two convolutions of one width."""

    def __init__(self, before: int, now: int) -> None:
        super().__init__()
        self.first, self.second = Heard(before, now), Heard(now, now)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        heard: Tensor = self.second(self.first(x, real), real)
        return heard


class Heard(nn.Module):
    """A 3×3 convolution, its norm and its ReLU over the real frames; zeros behind them."""

    def __init__(self, before: int, now: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, now, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.norm = RealNorm(now)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x), real))


class RealNorm(nn.Module):
    """Batch norm whose statistics are of the real frames only; zeros behind them.

    x: float[B, C, F, T]; real: bool[B, T]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        cells = x.permute(0, 3, 2, 1)  # [B, T, F, C]
        out = torch.zeros_like(cells)
        found = cells[real]  # [N, F, C]
        out[real] = self.norm(found.flatten(0, 1)).view_as(found).to(out.dtype)
        return out.permute(0, 3, 2, 1)
