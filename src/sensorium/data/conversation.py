"""Conversations: what users write, and the token ids that a language model reads of it.

[{"role": …, "content": …}] -> Turns -> Rendered (ids, what is supervised, where media stand)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.data.templates import Literal, Special, Template, Unfit
from sensorium.media import MODALITIES, Audio, Source, Video

ROLES = ("system", "user", "assistant")
CONVERSATION = "conversation"  # the modality of a column of messages
REMEMBERED = 1 << 22  # characters of the texts whose token ids are kept; each counts 64 more

Length = int | Callable[[Any], int]


class ConversationError(ValueError):
    """A conversation that cannot be read as asked: where, what was got, what was expected."""


@dataclass(frozen=True, eq=False)
class Medium:
    """One piece of media in a conversation.

    name:   of the encoder that reads it, its modality by default
    length: the positions that it takes; None: as the renderer's `lengths` say
    """

    name: str
    modality: str
    media: Any
    length: int | None = None


@dataclass(frozen=True)
class Turn:
    """One message: who says it, and its texts and media in order."""

    role: str
    parts: tuple[str | Medium, ...]


class Slot(NamedTuple):
    """Where one medium stands: `length` positions from `start`, filled by the encoder called `name`."""

    name: str
    start: int
    length: int


@dataclass(frozen=True, eq=False)
class Rendered:
    """One conversation as token ids.

    ids:        int64[L]; the tokenizer's padding id where media stand
    supervised: bool[L], True for every token that the model is to write: what follows the template's
                generation prompt in every assistant turn, its end-of-turn token included
    slots:      places of the media, in reading order
    media:      (encoder name, medium) of each slot
    """

    ids: np.ndarray
    supervised: np.ndarray
    slots: tuple[Slot, ...]
    media: tuple[tuple[str, Any], ...]

    def __len__(self) -> int:
        return len(self.ids)


def parse(messages: Sequence[Mapping[str, Any]], where: str = "conversation") -> tuple[Turn, ...]:
    """Messages -> turns; nothing is opened.

        [{"role": "user", "content": [{"type": "image", "image": "cat.png"}, {"type": "text", "text": "Who?"}]},
         {"role": "assistant", "content": "A cat."}]

    A part's media is decoded media, a `Source` or the path of a file; `"as": "object"` has it read by the
    encoder of that name. `where` names the conversation in errors. Raises ConversationError.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise ConversationError(
            f"{where}: got {type(messages).__name__}; expected a list of messages such as "
            '[{"role": "user", "content": "What is this?"}]'
        )
    if not messages:
        raise ConversationError(f"{where}: it is empty; expected at least one message")
    return tuple(_turn(message, f"{where}, message {number}") for number, message in enumerate(messages, 1))


def _turn(message: Any, where: str) -> Turn:
    if not isinstance(message, Mapping) or "role" not in message or "content" not in message:
        got = f"keys {list(message)}" if isinstance(message, Mapping) else type(message).__name__
        raise ConversationError(f'{where}: got {got}; expected {{"role": …, "content": …}}')
    role, content = message["role"], message["content"]
    if role not in ROLES:
        raise ConversationError(f"{where}: unknown role {role!r}; expected one of {', '.join(ROLES)}")
    if isinstance(content, str):
        return Turn(role, (_words(content, where),) if content else ())
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise ConversationError(
            f"{where}: content is {type(content).__name__}; expected a text or a list of parts"
        )
    return Turn(role, tuple(_part(part, f"{where}, part {number}") for number, part in enumerate(content, 1)))


def _part(part: Any, where: str) -> str | Medium:
    if isinstance(part, str):
        return _words(part, where)
    if not isinstance(part, Mapping):
        raise ConversationError(f'{where}: got {type(part).__name__}; expected {{"type": …}} or a text')
    modality = part.get("type")
    if modality not in MODALITIES:
        raise ConversationError(
            f"{where}: unknown type {modality!r}; expected one of {', '.join(MODALITIES)}, as in "
            '{"type": "image", "image": "photo.jpg"}'
        )
    media = part.get(modality)
    if media is None:
        raise ConversationError(f"{where}: a part of type {modality!r} needs the key {modality!r}")
    if modality == "text":
        if not isinstance(media, str):
            raise ConversationError(f"{where}: text is {type(media).__name__}; expected a string")
        return _words(media, where)
    return Medium(str(part.get("as", modality)), modality, _media(media, modality, where))


def _words(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a pair, or a byte of a terminal that is not UTF-8
        raise ConversationError(
            f"{where}: got a text with {text[error.start]!r}, which is no character; expected UTF-8"
        ) from error
    return text


def _media(media: Any, modality: str, where: str) -> Any:
    if modality == "state":
        state = np.asarray(media)
        if state.ndim != 1 or state.dtype.kind not in "fiub":
            raise ConversationError(f"{where}: got {type(media).__name__}; expected a list of numbers")
        return state.astype(np.float32, copy=False)
    if isinstance(media, str | os.PathLike):
        if str(media).startswith("data:") or "://" in str(media):
            raise ConversationError(
                f"{where}: got the address {str(media)[:60]!r}; nothing is fetched here: name a local file"
            )
        return Source(modality, Path(media))
    right = (
        media.modality == modality
        if isinstance(media, Source)
        else isinstance(media, {"image": np.ndarray, "audio": Audio, "video": Video}[modality])
    )
    if not right:
        got = f"a Source of {media.modality}" if isinstance(media, Source) else type(media).__name__
        raise ConversationError(
            f"{where}: {modality} is {got}; expected a path, a Source or decoded {modality}"
        )
    return media


def media_key(medium: Any) -> Any:
    """What tells one medium from another: file or bytes of a Source, the numbers of a state, else the object."""
    if isinstance(medium, Source):
        return medium.modality, medium.path, medium.data
    if isinstance(medium, np.ndarray) and medium.ndim == 1:
        return medium.tobytes()
    return id(medium)


class Renderer:
    """Turns -> Rendered, through the tokenizer's own chat template.

    The template only ever sees a stand-in word for each message, and what it writes around these is taken
    apart into its special tokens and text. Content is put back afterwards, so nothing that a user types can
    become a special token or shift a medium: "<|im_end|>" in a question is read as those ten letters.
    Text is tokenised in runs as long as they come, broken only at special tokens, at media and where an
    answer begins; hence the ids of a prompt are a prefix of those of the answered conversation.

    tokenizer: of `transformers`
    lengths:   by encoder name, the positions that a medium takes, or a function of the medium that says so:
               `MultimodalLM.lengths()`. A function is given the medium as the caller has it: decoded, or its cached
               Features of one row (see `ConversationCollator`)
    template:  a Jinja chat template; None takes the tokenizer's own, or `templates.PLAIN` if it has none
    limit:     most positions a conversation may have; None: as many as come
    """

    def __init__(
        self,
        tokenizer: Any,
        lengths: Mapping[str, Length],
        template: str | None = None,
        limit: int | None = None,
    ) -> None:
        self.tokenizer, self.lengths, self.limit = tokenizer, dict(lengths), limit
        self.template = Template(tokenizer, template)
        pad = tokenizer.pad_token_id
        self.placeholder = int(pad if pad is not None else tokenizer.eos_token_id or 0)
        self._kept: dict[tuple[str, bool], list[int]] = {}
        self._room = REMEMBERED

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}, "_room": REMEMBERED}

    def __call__(
        self, messages: Sequence[Mapping[str, Any]], generation: bool = False, where: str = "conversation"
    ) -> Rendered:
        return self.render(parse(messages, where), generation, where)

    def render(
        self, turns: Sequence[Turn], generation: bool = False, where: str = "conversation"
    ) -> Rendered:
        """Raises ConversationError.

        generation: end with the template's invitation to answer; nothing is supervised in what is answered
        """
        writing = _Writing(self)
        try:
            for atom in self.template.atoms(tuple(turn.role for turn in turns), generation):
                if isinstance(atom, Special):
                    writing.special(atom)
                elif isinstance(atom, Literal):
                    writing.text(atom.text, atom.supervised)
                else:
                    turn = turns[atom.turn]
                    for part in _stripped(turn.parts) if atom.stripped else turn.parts:
                        if isinstance(part, str):
                            writing.text(part, turn.role == "assistant")
                        else:
                            writing.medium(part, self.length(part, where))
            rendered = writing.done(supervising=not generation)
        except Unfit as error:
            raise ConversationError(f"{where}: {error}") from error
        if self.limit is not None and len(rendered) > self.limit:
            media = sum(slot.length for slot in rendered.slots)
            raise ConversationError(
                f"{where}: it takes {len(rendered):,} positions ({media:,} of them for {len(rendered.slots)} "
                f"media), the model reads at most {self.limit:,}: leave out turns or media, or use a projector "
                "that writes fewer tokens"
            )
        return rendered

    def length(self, medium: Medium, where: str = "conversation") -> int:
        """The positions that a medium takes."""
        if medium.name not in self.lengths:
            raise self.no_encoder(medium.name, where)
        if medium.length is not None:
            return medium.length
        length = self.lengths[medium.name]
        length = length if isinstance(length, int) else int(length(medium.media))
        if length < 1:
            raise ConversationError(f"{where}: {medium.name} of {length} tokens; a medium takes at least one")
        return length

    def no_encoder(self, name: str, where: str) -> ConversationError:
        known = ", ".join(["text", *self.lengths])
        return ConversationError(
            f"{where}: a part of {name!r}, but this model has no encoder for it; it takes {known}"
        )

    def ids(self, text: str, continued: bool) -> list[int]:
        """Token ids of plain text; special tokens spelled out in it are letters like any others.

        continued: something stands before it, so a tokenizer that begins texts with a space does not here
        """
        found = self._kept.get((text, continued))
        if found is None:
            found = self.template.plain_ids(text, continued)
            size = len(text) + 64
            if size > self._room:
                self._kept.clear()
                self._room = REMEMBERED
            if size <= self._room:
                self._kept[text, continued] = found
                self._room -= size
        return found


class _Writing:
    """Token ids as they are written, with the run of text that is not tokenised yet."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        self.ids: list[int] = []
        self.supervised: list[bool] = []
        self.slots: list[Slot] = []
        self.media: list[tuple[str, Any]] = []
        self.run, self.run_supervised = "", False

    def text(self, text: str, supervised: bool) -> None:
        if supervised != self.run_supervised:
            self._end_run()
            self.run_supervised = supervised
        self.run += text

    def special(self, token: Special) -> None:
        self._end_run()
        self._add([token.id], token.supervised)

    def medium(self, medium: Medium, length: int) -> None:
        self._end_run()
        self.slots.append(Slot(medium.name, len(self.ids), length))
        self.media.append((medium.name, medium.media))
        self._add([self.renderer.placeholder] * length, False)

    def done(self, supervising: bool) -> Rendered:
        self._end_run()
        return Rendered(
            np.array(self.ids, np.int64),
            np.array(self.supervised, bool) & supervising,
            tuple(self.slots),
            tuple(self.media),
        )

    def _end_run(self) -> None:
        if self.run:
            self._add(self.renderer.ids(self.run, continued=bool(self.ids)), self.run_supervised)
            self.run = ""

    def _add(self, ids: list[int], supervised: bool) -> None:
        self.ids += ids
        self.supervised += [supervised] * len(ids)


def _stripped(parts: tuple[str | Medium, ...]) -> tuple[str | Medium, ...]:
    """As a template that trims its messages would have it."""
    trimmed = list(parts)
    if trimmed and isinstance(trimmed[0], str):
        trimmed[0] = trimmed[0].lstrip()
    if trimmed and isinstance(trimmed[-1], str):
        trimmed[-1] = trimmed[-1].rstrip()
    return tuple(trimmed)
