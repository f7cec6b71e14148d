"""POST /v1/chat/completions: an answer to a conversation, whole or as server-sent events.

ChatRequest ──► messages with Sources ──► the model's lane, n times ──► ChatAnswer | events … [DONE]
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request

from sensorium.serving.answers import AnswerMessage, ChatAnswer, Choice, Usage
from sensorium.serving.posted import Posted
from sensorium.serving.served import ServedAssistant, Written
from sensorium.serving.service import COMPUTED, Here, Service
from sensorium.serving.settings import Settings
from sensorium.serving.things import invalid, messages_of
from sensorium.serving.waiting import Events, answered, first_of, together
from sensorium.serving.wire import ChatRequest

router = APIRouter(tags=["chat"], route_class=Posted)
SEEDS = 1 << 62  # seeds of the decoder are below


@router.post(
    "/v1/chat/completions",
    response_model=ChatAnswer,
    responses=COMPUTED
    | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "the answer"}},
)
async def chat(request: Request, asked: ChatRequest, here: Here) -> Any:
    """Go on with a conversation about text, pictures, sounds and clips.

    Without `temperature` (or with 0) the likeliest words are taken: the same request gives the same answer. With
    `stream` the answer comes as server-sent events while it is written.
    """
    asked.known()
    model, settings = here.assistant(asked.model), here.settings
    options = options_of(asked, settings)
    id, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
    messages = await answered(
        request, messages_of(asked.messages, model.modalities, settings), settings.seconds
    )
    if asked.stream:
        head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model.name}
        counted = asked.stream_options is not None and bool(asked.stream_options.include_usage)
        events = _events(here, model, messages, options, head, counted)
        return Events(await first_of(request, events, settings.seconds), settings.seconds)
    work = together(model.chat(messages, seconds=settings.seconds, **each) for each in options)
    written: list[Written] = await answered(request, work, settings.seconds)
    usage = _usage(here, model, written)
    choices = [
        Choice(index=n, message=AnswerMessage(content=one.text), finish_reason=one.finish)
        for n, one in enumerate(written)
    ]
    return ChatAnswer(id=id, created=created, model=model.name, choices=choices, usage=usage)


def options_of(asked: ChatRequest, settings: Settings) -> list[dict[str, Any]]:
    """How each of the n answers is decoded. Raises ApiError."""
    n = asked.n or 1
    if n > settings.choices:
        raise invalid("n", f"got {n}; at most {settings.choices} answers are given to one request")
    if asked.stream_options is not None:
        asked.stream_options.known("stream_options")
        if not asked.stream:
            raise invalid("stream_options", "is only for stream: true")
    stop = [asked.stop] if isinstance(asked.stop, str) else list(asked.stop or ())
    if len(stop) > settings.stops or not all(stop):
        raise invalid("stop", f"expected at most {settings.stops} strings, none of them empty")
    if any(len(one) > 1000 for one in stop):
        raise invalid("stop", "got a string of more than 1,000 characters")
    most = asked.max_completion_tokens or asked.max_tokens or settings.default_tokens
    options: dict[str, Any] = {"max_tokens": min(most, settings.max_tokens), "stop": stop}
    for name in ("temperature", "top_p", "top_k"):
        if getattr(asked, name) is not None:
            options[name] = getattr(asked, name)
    seeds = [None if asked.seed is None else (asked.seed + place) % SEEDS for place in range(n)]
    return [options | {"seed": seed} for seed in seeds]


def _usage(here: Service, model: ServedAssistant, written: Sequence[Written]) -> Usage:
    """The conversation counts once, however many answers it got."""
    read, wrote = written[0].prompt_tokens, sum(one.completion_tokens for one in written)
    here.metrics.count(model.name, read, wrote)
    return Usage(prompt_tokens=read, completion_tokens=wrote, total_tokens=read + wrote)


async def _events(
    here: Service,
    model: ServedAssistant,
    messages: list[dict[str, Any]],
    options: Sequence[dict[str, Any]],
    head: dict[str, Any],
    counted: bool,
) -> AsyncGenerator[dict[str, Any], None]:
    """Per answer: its role, its pieces, why it ended. At the end the usage, where it is asked for."""

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
        return head | {"choices": [choice]} | ({"usage": None} if counted else {})

    streams = [_trimmed(model.stream(messages, seconds=here.settings.seconds, **each)) for each in options]
    begun: set[int] = set()
    ended: list[Written] = []
    merged = _merged(streams)
    try:
        async for index, piece in merged:
            if index not in begun:
                begun.add(index)
                yield chunk(index, {"role": "assistant", "content": ""})
            if isinstance(piece, Written):
                ended.append(piece)
                yield chunk(index, {}, piece.finish)
            else:
                yield chunk(index, {"content": piece})
    finally:
        await merged.aclose()
    usage = _usage(here, model, ended)
    if counted:
        yield head | {"choices": [], "usage": usage.model_dump()}


async def _trimmed(pieces: AsyncIterator[str | Written]) -> AsyncGenerator[str | Written, None]:
    """Without white space before the first word and after the last, which a whole answer has not either."""
    begun, held = False, ""
    async for piece in pieces:
        if isinstance(piece, Written):
            yield piece
            return
        held += piece if begun else (held + piece).lstrip()
        words = held.rstrip()
        if words:
            yield words
            begun, held = True, held[len(words) :]


async def _merged(
    streams: Sequence[AsyncGenerator[str | Written, None]],
) -> AsyncGenerator[tuple[int, str | Written], None]:
    """Several streams as one, each piece with the number of its own, as they come."""
    queue: asyncio.Queue[tuple[int, str | Written | None, Exception | None]] = asyncio.Queue()

    async def pump(index: int, stream: AsyncGenerator[str | Written, None]) -> None:
        try:
            async for piece in stream:
                queue.put_nowait((index, piece, None))
            queue.put_nowait((index, None, None))
        except Exception as error:  # noqa: BLE001 - raised where the pieces are read
            queue.put_nowait((index, None, error))
        finally:
            await stream.aclose()

    tasks = [asyncio.create_task(pump(index, stream)) for index, stream in enumerate(streams)]
    try:
        left = len(tasks)
        while left:
            index, piece, error = await queue.get()
            if error is not None:
                raise error
            if piece is None:
                left -= 1
            else:
                yield index, piece
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
