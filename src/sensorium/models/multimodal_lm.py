"""`MultimodalLM`: encoders and projectors that write into the input of a language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.models.speller import Speller


class TokenBatchLike(Protocol):
    """What `forward` reads of a `data.TokenBatch` (shapes there)."""

    @property
    def ids(self) -> Tensor: ...
    @property
    def attend(self) -> Tensor | None: ...
    @property
    def positions(self) -> Tensor | None: ...
    @property
    def slots(self) -> Mapping[str, Tensor]: ...
    @property
    def media(self) -> Mapping[str, Any]: ...
    @property
    def decoder_ids(self) -> Tensor | None: ...
    @property
    def decoder_attend(self) -> Tensor | None: ...


@dataclass(frozen=True)
class States:
    """What `MultimodalLM.forward` returns.

    hidden: float[B, L, D], the states before the head, for every position that the batch's targets have
    """

    hidden: Tensor


class MultimodalLM(nn.Module):
    """A language model whose input holds the tokens of other media among its words.

        image ──► encoder ──► Features ──► projector ──► float[N, T, D] ──┐
        audio ──► encoder ──► Features ──► projector ──► float[N, T, D] ──┼─► written over the placeholders
        state ──► encoder ──► Features ──► projector ──► float[N, T, D] ──┘               │
        words ──► ids, placeholders among them ──► embedding table ──► float[B, L, D] ────┴──► backbone ──► states

    encoders:   by name; a name is the modality, or another word for a second encoder of one modality
    projectors: by the same names, `Features -> Features` as wide as the backbone's embeddings
    backbone:   `CausalBackbone` or `EncoderDecoderBackbone`
    prompts:    by task ("caption", "transcribe"), the words that it was trained to be asked with
    template:   the chat template that it was trained with; None: its tokenizer's
    speller:    a `Speller`, for a model that transcribes by searching; None: it writes what it hears token by token

    Raises ValueError when names or widths do not fit.
    """

    def __init__(
        self,
        encoders: Mapping[str, Any],
        projectors: Mapping[str, Any],
        backbone: Any,
        prompts: Mapping[str, str] | None = None,
        template: str | None = None,
        speller: Speller | None = None,
    ) -> None:
        super().__init__()
        if set(encoders) != set(projectors):
            raise ValueError(
                f"encoders for {sorted(encoders)}, projectors for {sorted(projectors)}: name the same"
            )
        widths = {name: projector.width for name, projector in projectors.items()}
        if wrong := {name: width for name, width in widths.items() if width != backbone.width}:
            raise ValueError(
                f"projectors end in widths {wrong}; the backbone's embeddings have {backbone.width}"
            )
        self.encoders = nn.ModuleDict(encoders)
        self.projectors = nn.ModuleDict(projectors)
        self.backbone = backbone
        self.prompts, self.template, self.speller = dict(prompts or {}), template, speller

    def forward(self, batch: TokenBatchLike) -> States:
        embeddings = self.embed(batch)
        if self.backbone.kind == "encoder_decoder":
            hidden = self.backbone(embeddings, batch.attend, batch.decoder_ids, batch.decoder_attend)
        else:
            hidden = self.backbone(embeddings, batch.attend, batch.positions)
        return States(hidden)

    def embed(self, batch: TokenBatchLike) -> Tensor:
        """The backbone's input, float[B, L, D]: words looked up, media written over their placeholders."""
        embeddings: Tensor = self.backbone.embed(batch.ids)
        for name, slots in batch.slots.items():
            tokens = self.media_tokens(name, batch.media[name])
            places, found = int(slots.sum()), len(tokens)
            if places != found:
                raise ValueError(
                    f"{name}: {places} placeholders for {found} tokens; lay conversations out by "
                    "Renderer(tokenizer, model.lengths())"
                )
            embeddings = embeddings.masked_scatter(slots[..., None], tokens.to(embeddings.dtype))
        return embeddings

    def media_tokens(self, name: str, inputs: dict[str, Tensor] | Features) -> Tensor:
        """N media of one name -> float[S, D], the real tokens of all of them, in order."""
        features = self.features(name, inputs)
        return features.tokens[features.mask]

    def features(self, name: str, inputs: dict[str, Tensor] | Features) -> Features:
        """N media of one name, prepared or as their encoder's cached Features -> projected Features[N, T, D]."""
        if name not in self.encoders:
            raise ValueError(f"no encoder for {name!r}; this model takes text, {', '.join(self.encoders)}")
        if not isinstance(inputs, Features):
            encoder = self.encoders[name]
            with torch.set_grad_enabled(torch.is_grad_enabled() and _learns(encoder)):
                inputs = encoder(inputs)
        projected: Features = self.projectors[name](inputs)
        return projected

    def lengths(self) -> dict[str, int | Callable[[Any], int]]:
        """By name, the positions that a medium takes, as `data.Renderer` wants them: a number where the projector
        writes always as many tokens, else a function of the medium (decoded, or its Features of one row)."""
        parts: Any = self.projectors.items()
        return {
            name: TokenCount(self.encoders[name], part) if part.length is None else int(part.length)
            for name, part in parts
        }

    def logits(self, hidden: Tensor) -> Tensor:
        """float[…, D] -> float[…, V]"""
        logits: Tensor = self.backbone.logits(hidden)
        return logits


@dataclass(frozen=True)
class TokenCount:
    """How many positions a medium takes whose tokens are as many as its length asks for."""

    encoder: Any
    projector: Any

    def __call__(self, medium: Any) -> int:
        """medium: decoded, or the encoder's Features of it, one row"""
        encoded = int(medium.mask.sum()) if isinstance(medium, Features) else self.encoder.token_count(medium)
        return int(self.projector.length_of(encoded))


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())
