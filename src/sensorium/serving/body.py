"""How much a request may bring before anyone reads it: bytes, seconds, and values of JSON.

client ──► BodyLimit ──► app.  Plain ASGI: nothing is buffered here, and responses stream as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensorium.serving.errors import ApiError
from sensorium.serving.refused import Refused

LINGERS = 5.0  # seconds for which a body that is refused is still read


class Allowance:
    """Bytes that one request may still bring, on whichever way; what is fetched for it counts, too."""

    def __init__(self, most: int) -> None:
        self.most = self.left = most

    def take(self, number: int) -> None:
        """Raises Refused (413) when so many are not left."""
        self.left -= number
        if self.left < 0:
            raise Refused(
                413, f"all that one request brings, what is fetched included, is at most {self.most:,} bytes"
            )


allowance: ContextVar[Allowance | None] = ContextVar("allowance", default=None)  # of the request at hand


class BodyLimit:
    """ASGI middleware that refuses bodies which are too large (413), too slow (408) or too finely divided (413).

    most_bytes: of one body; refused by its Content-Length, and where that is missing or lies, while it streams in
    seconds:    that all of one body may take to arrive; the time that the app takes between is not counted
    values:     of JSON in one body (counted by its commas and brackets): a megabyte of "[],[],[]…" would grow to
                fifty in memory. None: any number; bodies of other types are not counted

    The answer is an error in OpenAI's shape, and the connection is closed. An app that answers meanwhile is overruled
    unless its answer has begun.
    """

    def __init__(
        self, app: ASGIApp, most_bytes: int, seconds: float = 60.0, values: int | None = 1_000_000
    ) -> None:
        self.app, self.most_bytes, self.seconds, self.values = app, most_bytes, seconds, values

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        stated = headers.get(b"content-length", b"")
        if stated.isdigit() and int(stated[:20]) > self.most_bytes:
            if b"expect" not in headers:  # one that asks beforehand sends nothing once it is refused
                await self._discard(receive)
            refusal = _refusal(413, self._too_large(f"{int(stated[:20]):,} bytes"))
            await refusal.response()(scope, receive, send)
            return
        counts = self.values is not None and not headers.get(b"content-type", b"").startswith(b"multipart/")
        allowance.set(Allowance(self.most_bytes))
        watched = _Watched(self, receive, send, counts)
        with contextlib.suppress(_Stopped):
            await self.app(scope, watched.receive, watched.send)
        if watched.refusal is not None and not watched.begun:
            if watched.refusal.status == 413:
                await self._discard(receive)
            await watched.refusal.response()(scope, receive, send)

    async def _discard(self, receive: Receive) -> None:
        """Reads on and keeps nothing, for some bytes and seconds: a connection that is closed while its client still
        sends is reset, and the client never reads why."""
        left = self.most_bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGERS):
                more = True
                while more and left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    more = message.get("more_body", False)

    def _too_large(self, got: str) -> str:
        return f"the body is too large: got {got}; expected at most {self.most_bytes:,}"


class _Stopped(Exception):
    """Ends the app's reading; raised inside its `receive`."""


class _Watched:
    """One request's `receive` and `send`, with what was counted so far."""

    def __init__(self, limit: BodyLimit, receive: Receive, send: Send, counts: bool) -> None:
        self.limit, self._receive, self._send, self._counts = limit, receive, send, counts
        self.refusal: ApiError | None = None
        self.begun = False  # the app's answer
        self._done = False  # the body
        self._bytes = self._values = 0
        self._waited = 0.0

    async def receive(self) -> Message:
        if self.refusal is not None:
            return {"type": "http.disconnect"}
        if self._done:  # what comes now is the client leaving, which may take as long as it likes
            return await self._receive()
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.limit.seconds - self._waited):
                message = await self._receive()
        except TimeoutError:
            self._refuse(408, f"the body took longer than {self.limit.seconds:g} seconds to arrive")
        self._waited += time.monotonic() - started
        if message["type"] == "http.request":
            self._count(message.get("body", b""))
            self._done = not message.get("more_body", False)
        return message

    def _count(self, body: bytes) -> None:
        self._bytes += len(body)
        if self._bytes > self.limit.most_bytes:
            self._refuse(413, self.limit._too_large(f"{self._bytes:,} bytes or more"))
        if self._counts and self.limit.values is not None:
            self._values += body.count(b",") + body.count(b"[") + body.count(b"{")
            if self._values > self.limit.values:
                self._refuse(413, f"the body holds too many values: expected at most {self.limit.values:,}")

    def _refuse(self, status: int, message: str) -> None:
        self.refusal = _refusal(status, message)
        raise _Stopped

    async def send(self, message: Message) -> None:
        if self.refusal is not None and not self.begun:
            return  # ours follows
        self.begun = True
        await self._send(message)


def _refusal(status: int, message: str) -> ApiError:
    code = {408: "request_timeout", 413: "request_too_large"}[status]
    return ApiError(status, message, code=code, headers={"Connection": "close"})
