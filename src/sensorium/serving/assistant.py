"""`ServedAssistant`: a multimodal language model that many talk to at once.

conversations ──► prompts (each medium is read once) ──► rows of one batch ──► a token a row ──► each row's pieces
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sensorium.facade import Assistant
from sensorium.facade.assistant import message
from sensorium.facade.prompt import Messages, Prompt, Seen
from sensorium.media import Source
from sensorium.models.decoding import Decoding, DecodingError
from sensorium.models.row_decoding import Row, RowDecoder
from sensorium.serving.batching import Gate, Lane, Late, Ticket
from sensorium.serving.settings import Settings
from sensorium.serving.space import deadline_in

REMEMBERED = 2**26  # bytes of what media look like to the language model: 64 MB
POSITIONS = 2**15  # of all rows together that keys and values are kept for; SmolLM2-135M: 46 kB each, 1.5 GB


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


@dataclass(frozen=True)
class Recorded:
    """A job: a recording whose words are searched."""

    audio: Source


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
        self._seen: Seen = {}  # the last used last

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
    ) -> AsyncGenerator[str | Written, None]:
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
                done.cancel()

    async def transcribe(self, audio: Source, *, seconds: float | None = None, **decoding: Any) -> Written:
        """What is said in a recording, asked with the sentence that the model was trained to transcribe with; or
        searched, by a model that does (`Assistant.transcribe`).

        A search counts no tokens that it reads, and those of the text that it found.
        """
        if self.assistant.model.speller is not None:
            with self.gate:
                self.assistant.decoding(**decoding)  # refuse unknown ones as `chat` does
                found: Written = await self.lane.submit(Recorded(audio), deadline_in(seconds))
            return found
        asked = message(self.assistant.prompts["transcribe"], audio=audio)
        return await self.chat([asked], seconds=seconds, **decoding)

    # ---- in the lane's thread -------------------------------------------------------------------------------

    def _answered(self, tickets: list[Ticket], more: Callable[[int], list[Ticket]]) -> None:
        """Write answers until nobody waits for one: who comes meanwhile joins between two tokens."""
        decoder = RowDecoder(self.assistant.engine)
        ready: deque[tuple[Answer, Prompt]] = deque()  # read, and waiting for a place
        writing: dict[Row, Answer] = {}
        while tickets or ready or writing:
            tickets = [ticket for ticket in tickets if not self._searched(ticket)]
            with contextlib.suppress(Exception):  # whose media it is, each conversation tells by itself
                self.assistant.look(
                    [ticket.job.messages for ticket in tickets if not ticket.gone], self._seen
                )
            begun = [made for ticket in tickets if (made := self._begun(ticket)) is not None]
            self._remember([prompt for _, prompt in begun])
            ready += begun
            ready = deque(one for one in ready if not one[0].over())
            decoder.leave([row for row, answer in writing.items() if answer.over()])
            writing = {row: writing[row] for row in decoder.rows}
            if decoder.open:
                joining = _fitting(ready, decoder.rows)
                rows = decoder.join(
                    [prompt.embeddings[0] for _, prompt in joining], [one.asked.how for one, _ in joining]
                )
                for (answer, _), row in zip(joining, rows, strict=True):
                    if isinstance(row, DecodingError):
                        answer.ticket.settle(row)
                    else:
                        writing[row] = answer
            for row, piece in decoder.step():
                writing[row].write(row, piece)
            writing = {row: writing[row] for row in decoder.rows}
            tickets = more(max(0, self.lane.most - len(writing) - len(ready)))

    def _searched(self, ticket: Ticket) -> bool:
        """Whether it was a recording, whose words are found by now."""
        if not isinstance(ticket.job, Recorded):
            return False
        if not Answer(ticket).over():
            try:
                text = self.assistant.transcribe(ticket.job.audio)
                length = len(self.assistant.model.backbone.tokenizer(text)["input_ids"])
                ticket.settle(Written(text, "stop", 0, length))
            except Exception as error:  # noqa: BLE001 — raised again where it is waited for
                ticket.settle(error)
        return True

    def _begun(self, ticket: Ticket) -> tuple[Answer, Prompt] | None:
        """A conversation as the model reads it; None when nobody waits for it, or it cannot be read."""
        answer = Answer(ticket)
        if answer.over():
            return None
        try:
            prompt = self.assistant.prompt(answer.asked.messages, self._seen)
        except Exception as error:  # noqa: BLE001 — raised again where it is waited for
            ticket.settle(error)
            return None
        return answer, prompt

    def _remember(self, prompts: Sequence[Prompt]) -> None:
        """Forget the media that were not used for longest, beyond `REMEMBERED` bytes."""
        if not prompts:
            return
        used = {key[0] for prompt in prompts for key in prompt.keys if isinstance(key, tuple)}
        for name in [name for name, medium in self._seen.items() if medium.key in used]:
            self._seen[name] = self._seen.pop(name)
        size = sum(medium.tokens.nbytes for medium in self._seen.values())
        while size > REMEMBERED:
            size -= self._seen.pop(next(iter(self._seen))).tokens.nbytes


class Answer:
    """One answer that is being written, and who waits for it."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.asked: Asked = ticket.job
        self._begun = False
        self._held = ""  # blanks that are part of the answer once something follows them

    def over(self) -> bool:
        """Whether nobody waits for it any more; who waits beyond the deadline is told so."""
        if self.ticket.late:
            self.ticket.settle(Late("the deadline passed before the answer was finished"))
        return self.ticket.gone or self.ticket.result.done()

    def write(self, row: Row, piece: str) -> None:
        """Give out a piece without the blanks around the whole answer; after the last one, the `Written`."""
        piece = self._held + piece
        shown = piece.rstrip() if self._begun else piece.strip()
        self._held = piece[len(piece.rstrip()) :] if self._begun or shown else ""
        if shown:
            self._begun = True
            self.asked.give(shown)
        if row.ended is not None:
            finish: Literal["stop", "length"] = "length" if row.ended == "length" else "stop"
            self.ticket.settle(Written(row.text.text.strip(), finish, row.prompt, len(row.text.ids)))


def _fitting(ready: deque[tuple[Answer, Prompt]], rows: list[Row]) -> list[tuple[Answer, Prompt]]:
    """Takes those that may join now, in their order: as many as `POSITIONS` has room for, or one where none is."""
    longest = max((row.prompt + row.most for row in rows), default=0)
    number = len(rows)
    taken: list[tuple[Answer, Prompt]] = []
    while ready:
        answer, prompt = ready[0]
        longest = max(longest, len(prompt) + answer.asked.how.max_tokens)
        number += 1
        if number > 1 and number * longest > POSITIONS:
            break
        taken.append(ready.popleft())
    return taken


def _told(loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[str], piece: str) -> None:
    """Put a piece into a queue of another thread's loop; nowhere when that loop has ended meanwhile."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(pieces.put_nowait, piece)
