"""Messages with media -> the input embeddings of a language model, and what each position holds.

messages ──► turns ──► media decoded, encoded, projected, each once ──► Prompt(embeddings, keys)
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sensorium.data.conversation import ConversationError, Medium, Renderer, Turn, parse
from sensorium.data.templates import READ_AND_ANSWER
from sensorium.media import Source, content_key
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.models.reading import context_of

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Projected:
    """One medium as the language model reads it. key: by content; tokens: float[T, D]."""

    key: str
    tokens: Tensor


@dataclass(frozen=True, eq=False)
class Prompt:
    """A conversation up to where the model is to write.

    embeddings: float[1, L, D]
    keys:       for each of the L positions a token's id, or a medium's key and the place in it: equal keys from
                the beginning on mean equal embeddings, which a cache need not read again
    """

    embeddings: Tensor
    keys: tuple[Hashable, ...]

    def __len__(self) -> int:
        return len(self.keys)


Seen = dict[tuple[str, str], Projected]  # by encoder's name and content: what was projected already


class PromptReader:
    """Builds prompts for one model.

    embed: ids int64[L] -> float[L, D] as the engine that answers has them
    """

    def __init__(self, model: MultimodalLM, embed: Any) -> None:
        self.model, self.embed = model, embed
        tokenizer, context = model.backbone.tokenizer, context_of(model.backbone)
        template = model.template
        if template is None and model.backbone.kind == "encoder_decoder" and not tokenizer.chat_template:
            template = READ_AND_ANSWER
        self.renderer = Renderer(
            tokenizer,
            {name: lambda medium: len(medium.tokens) for name in model.encoders},
            template,
            limit=None if context is None else context - 1,  # the answer needs a position
        )

    def __call__(self, messages: Messages, seen: Seen) -> Prompt:
        """seen: gains the media that are new, once all of them could be read.

        Raises ConversationError, and MediaError for media that cannot be read.
        """
        turns = parse(messages)
        if turns[-1].role == "assistant":
            raise ConversationError("the last message is the assistant's; expected a user's, to be answered")
        fresh = dict(seen)
        read = [
            Turn(
                turn.role,
                tuple(self._read(part, fresh) if isinstance(part, Medium) else part for part in turn.parts),
            )
            for turn in turns
        ]
        rendered = self.renderer.render(read, generation=True)
        with torch.no_grad():
            embeddings = self.embed(torch.from_numpy(rendered.ids)).clone()
        keys: list[Hashable] = rendered.ids.tolist()
        for slot, (_, medium) in zip(rendered.slots, rendered.media):
            places = slice(slot.start, slot.start + slot.length)
            embeddings[places] = medium.tokens.to(embeddings.dtype)
            keys[places] = [(medium.key, place) for place in range(slot.length)]
        seen.update(fresh)
        return Prompt(embeddings[None], tuple(keys))

    def _read(self, part: Medium, seen: Seen) -> Medium:
        if part.name not in self.model.encoders:
            known = ", ".join(["text", *self.model.encoders])
            raise ConversationError(f"this model has no encoder for {part.name}; it takes {known}")
        encoder: Any = self.model.encoders[part.name]
        if encoder.modality != part.modality:
            raise ConversationError(
                f"the encoder {part.name!r} takes {encoder.modality}; got {part.modality}"
            )
        media = part.media
        key = media.key() if isinstance(media, Source) else content_key(media)
        if (part.name, key) not in seen:
            decoded = media.decode() if isinstance(media, Source) else media
            with torch.no_grad():
                features = self.model.features(part.name, encoder.encode([decoded]))
            seen[part.name, key] = Projected(f"{part.name} {key}", features.tokens[0][features.mask[0]])
        return replace(part, media=seen[part.name, key])
