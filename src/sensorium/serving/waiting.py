"""Waiting for a model as long as the client waits for us, and no longer than a request may take.

work ──► its result, or cancelled: the client left (ClientGone), the time is over (Late)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Iterable
from typing import Any, TypeVar

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sensorium.serving.batching import Late
from sensorium.serving.errors import ApiError, ClientGone, api_error

Result = TypeVar("Result")


async def answered(request: Request, work: Awaitable[Result], seconds: float) -> Result:
    """What `work` returns. Its body must have been read. Raises ApiError for whatever the work raises."""
    limit = asyncio.timeout(seconds)
    watching = asyncio.create_task(_cut_short(limit, request.receive))
    try:
        async with limit:
            return await work
    except Exception as error:
        if not limit.expired():
            raise api_error(error) from error
        raise api_error(ClientGone() if watching.done() else too_late(seconds)) from error
    finally:
        watching.cancel()


async def _cut_short(limit: asyncio.Timeout, receive: Receive) -> None:
    """End the time that work has as soon as the client leaves."""
    await _left(receive)
    if not limit.expired():
        limit.reschedule(0.0)


async def together(works: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Their results. Where one fails the others are cancelled, and its exception is raised as it is."""
    works = list(works)
    if len(works) == 1:
        return [await works[0]]
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await _ended(*tasks)


def too_late(seconds: float) -> Late:
    return Late(f"this took longer than {seconds:g} seconds, which a request may take here")


class Events(Response):
    """Server-sent events (WHATWG HTML §9.2), written as they come; "[DONE]" ends them, as OpenAI's do.

    events: of JSON. Closed when the client leaves, or after `seconds`. What goes wrong is the last event
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[dict[str, Any], None], seconds: float) -> None:
        self.events, self.seconds = events, seconds
        self.status_code, self.background = 200, None
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        writing = asyncio.create_task(self._written(send))
        gone = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({writing, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _ended(writing, gone)
            await self.events.aclose()

    async def _written(self, send: Send) -> None:
        async def line(text: str, more: bool = True) -> None:
            await send(
                {"type": "http.response.body", "body": f"data: {text}\n\n".encode(), "more_body": more}
            )

        try:
            async with asyncio.timeout(self.seconds):
                async for event in self.events:
                    await line(json.dumps(event, ensure_ascii=False))
        except Exception as error:  # noqa: BLE001 - told to the client, in the stream that has begun
            if isinstance(error, TimeoutError):
                error = too_late(self.seconds)
            await line(json.dumps(api_error(error).body(), ensure_ascii=False), more=False)
            return
        await line("[DONE]", more=False)


async def first_of(
    request: Request, events: AsyncGenerator[Result, None], seconds: float
) -> AsyncGenerator[Result, None]:
    """The same, once its first is there: what goes wrong until then is still an answer with a status of its own."""
    try:
        first = await answered(request, anext(events), seconds)
    except ApiError:
        await events.aclose()
        raise
    return _with(first, events)


async def _with(first: Result, rest: AsyncGenerator[Result, None]) -> AsyncGenerator[Result, None]:
    try:
        yield first
        async for one in rest:
            yield one
    finally:
        await rest.aclose()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancelled, and waited for: what a job holds is free when the answer goes out."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
