"""Messages with media -> the input embeddings of a language model, and what each position holds.

messages ──► turns ──► media decoded, encoded, projected, each once ──► Prompt(embeddings, keys)
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sensorium.data.conversation import ConversationError, Medium, Renderer, Turn, parse
from sensorium.data.templates import READ_AND_ANSWER
from sensorium.media import MediaError, Source, bytes_held, content_key
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


TOGETHER, HELD = 32, 2**27  # media that are encoded at a time, and the decoded bytes that are held for it

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

    def look(self, conversations: Iterable[Messages], seen: Seen) -> None:
        """Read the media of many conversations ahead, those of an encoder in batches: prompts then find them in `seen`.

        What cannot be read is passed over, and told by the prompt of its own conversation.
        """
        new: dict[tuple[str, str], Any] = {}
        for messages in conversations:
            with contextlib.suppress(ConversationError, MediaError):
                for part in [
                    part for turn in parse(messages) for part in turn.parts if isinstance(part, Medium)
                ]:
                    key = self._key(part)
                    if key not in seen and key not in new:
                        new[key] = _decoded(part.media)
            if len(new) >= TOGETHER or sum(map(bytes_held, new.values())) >= HELD:
                self._project(new, seen)
                new = {}
        self._project(new, seen)

    def _read(self, part: Medium, seen: Seen) -> Medium:
        key = self._key(part)
        if key not in seen:
            self._project({key: _decoded(part.media)}, seen)
        return replace(part, media=seen[key])

    def _key(self, part: Medium) -> tuple[str, str]:
        """Its encoder's name, and its content. Raises ConversationError where no encoder reads it."""
        if part.name not in self.model.encoders:
            known = ", ".join(["text", *self.model.encoders])
            raise ConversationError(f"this model has no encoder for {part.name}; it takes {known}")
        encoder: Any = self.model.encoders[part.name]
        if encoder.modality != part.modality:
            raise ConversationError(
                f"the encoder {part.name!r} takes {encoder.modality}; got {part.modality}"
            )
        return part.name, part.media.key() if isinstance(part.media, Source) else content_key(part.media)

    def _project(self, media: Mapping[tuple[str, str], Any], seen: Seen) -> None:
        """Decoded media by encoder's name and content -> into `seen`."""
        for name in dict.fromkeys(name for name, _ in media):
            keys = [key for key in media if key[0] == name]
            encoder: Any = self.model.encoders[name]
            with torch.no_grad():
                features = self.model.features(name, encoder.encode([media[key] for key in keys]))
            for row, key in enumerate(keys):
                seen[key] = Projected(" ".join(key), features.tokens[row][features.mask[row]])


def _decoded(media: Any) -> Any:
    return media.decode() if isinstance(media, Source) else media
