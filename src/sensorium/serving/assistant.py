"""`ServedAssistant`: a multimodal language model that many talk to at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

from sensorium.facade import Assistant
from sensorium.facade.assistant import message
from sensorium.facade.prompt import Messages
from sensorium.media import Source
from sensorium.models.decoding import Decoding, stream
from sensorium.serving.batching import Gate, Lane, Ticket
from sensorium.serving.settings import Settings
from sensorium.serving.space import deadline_in


@dataclass(frozen=True)
class Written:
    """An answer.

    finish:            "stop" where the model or a stop string ended it, "length" at max_tokens or the context's end
    prompt_tokens:     positions that were read, those of media too
    completion_tokens: tokens that were written, the one that ended it included
    """

    text: str
    finish: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Asked:
    """A job: a conversation, how to answer, and where pieces go (called in the lane's thread)."""

    messages: Messages
    how: Decoding
    give: Callable[[str], None] = lambda piece: None


class ServedAssistant:
    """An `Assistant` behind a lane. modalities: what may stand in a conversation."""

    task = "chat"

    def __init__(
        self, name: str, assistant: Assistant, settings: Settings | None = None, gate: Gate | None = None
    ) -> None:
        self.name, self.assistant = name, assistant
        self.settings = settings or Settings()
        self.gate = gate or Gate()
        self.modalities = assistant.modalities
        self.lane = Lane(name, self._answered, self.settings.batch, self.settings.wait, self.settings.queue)

    async def chat(self, messages: Messages, *, seconds: float | None = None, **decoding: Any) -> Written:
        """The answer to a conversation.

        decoding: options of `models.decoding.Decoding`: max_tokens, temperature, top_k, top_p, seed, stop

        Raises ConversationError, MediaError, DecodingError (all ValueErrors), Full, Late, Draining.
        """
        with self.gate:
            how = self.assistant.decoding(**decoding)
            written: Written = await self.lane.submit(Asked(messages, how), deadline_in(seconds))
        return written

    async def stream(
        self, messages: Messages, *, seconds: float | None = None, **decoding: Any
    ) -> AsyncIterator[str | Written]:
        """As `chat`, in pieces as they are written, and the `Written` last. Closing the iterator ends the answer."""
        with self.gate:
            how = self.assistant.decoding(**decoding)
            loop = asyncio.get_running_loop()
            pieces: asyncio.Queue[str] = asyncio.Queue()
            asked = Asked(messages, how, lambda piece: _told(loop, pieces, piece))
            ticket = self.lane.put(asked, deadline_in(seconds))
            done = asyncio.wrap_future(ticket.result)
            done.add_done_callback(lambda _: pieces.put_nowait(""))
            try:
                while piece := await pieces.get():
                    yield piece
                yield await done
            finally:
                self.lane.leave(ticket)

    async def transcribe(self, audio: Source, *, seconds: float | None = None, **decoding: Any) -> Written:
        """What is said in a recording, asked with the sentence that the model was trained to transcribe with."""
        asked = message(self.assistant.prompts["transcribe"], audio=audio)
        return await self.chat([asked], seconds=seconds, **decoding)

    def _answered(self, tickets: list[Ticket], more: Callable[[int], list[Ticket]]) -> None:
        for ticket in tickets:
            asked: Asked = ticket.job
            try:
                prompt = self.assistant.prompt(asked.messages)
                pieces = stream(self.assistant.engine, prompt.embeddings, asked.how)
                while not ticket.gone:
                    try:
                        asked.give(next(pieces))
                    except StopIteration as done:
                        text, ids, ended = done.value.texts[0], done.value.ids[0], done.value.ended[0]
                        finish: Any = "length" if ended == "length" else "stop"
                        ticket.settle(Written(text.strip(), finish, len(prompt), len(ids)))
                        break
            except ValueError as error:
                ticket.settle(error)


def _told(loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[str], piece: str) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(pieces.put_nowait, piece)
