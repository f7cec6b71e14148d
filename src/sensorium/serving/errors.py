"""What goes wrong, in the words and the shape that OpenAI's clients read; never a traceback.

exception ──► ApiError(status, message) ──► {"error": {"message": …, "type": …, "param": …, "code": …}}
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensorium.serving.batching import Draining, Full, Late
from sensorium.serving.refused import Refused

logger = logging.getLogger(__name__)

INVALID, OURS = "invalid_request_error", "server_error"
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
LONGEST = 2000  # characters of a message: those of ours that quote what they got end somewhere
CLIENT_GONE = 499  # nginx's word for it; nobody is there to read the answer


class ApiError(Exception):
    """An answer that is an error.

    status:  of HTTP
    message: what was got, what is expected
    type:    kind of error; by default that of the status
    param:   the field that is wrong
    code:    for programs, such as "model_not_found"
    headers: to send with it, such as Retry-After
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        message = message if len(message) <= LONGEST else message[: LONGEST - 1] + "…"
        self.status, self.message, self.param, self.code = status, message, param, code
        self.type = type or TYPES.get(status) or (INVALID if status < 500 else OURS)
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> JSONResponse:
        """The answer; itself an ASGI application, for middleware."""
        return JSONResponse(self.body(), self.status, self.headers)


class ClientGone(Exception):
    """Who asked has left; the work was cancelled."""


def api_error(error: Exception) -> ApiError:
    """What a caller is told of an exception that a model, an index or a check raised.

    A ValueError says what the caller can mend. Of others only the log says more.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, Refused):
        return ApiError(error.status, str(error), param=error.param or None)
    if isinstance(error, Full):
        wait = {"Retry-After": str(math.ceil(error.retry_after))}
        return ApiError(429, str(error), code="queue_full", headers=wait)
    if isinstance(error, Draining):
        return draining()
    if isinstance(error, Late):
        return ApiError(504, f"{error or 'the deadline passed'}", code="deadline_passed")
    if isinstance(error, ClientGone):
        return ApiError(CLIENT_GONE, "the client left")
    if isinstance(error, ValueError):
        return ApiError(400, str(error))
    return unforeseen(error)


def unforeseen(error: Exception) -> ApiError:
    """What is told of our own mistakes: nothing but that there is one. The log has the rest."""
    logger.error("a request failed", exc_info=error)
    return ApiError(500, "something went wrong here, which the server's log explains", code="internal_error")


def draining() -> ApiError:
    """What is told to whom comes while the server is being stopped."""
    return ApiError(
        503,
        "the server is being stopped: it finishes what it has begun and takes nothing new",
        code="draining",
        headers={"Retry-After": "10", "Connection": "close"},
    )


def too_much() -> ApiError:
    """What is told to whom comes while others hold all the memory that requests may have."""
    return ApiError(
        429,
        "the requests that are being answered hold as many bytes as they may; come again",
        code="queue_full",
        headers={"Retry-After": "1"},
    )


def install(app: FastAPI) -> None:
    """Have an application answer its errors in this shape."""

    async def known(_: Request, error: Exception) -> JSONResponse:
        return api_error(error).response()

    async def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message = str(error.detail)
        if error.status_code == 404:
            message = f"nothing is at {request.url.path[:100]}; /docs lists what can be asked here"
        return ApiError(error.status_code, message, headers=error.headers).response()

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return of_validation(error.errors()).response()

    for kind in (ApiError, Refused, Full, Late, Draining, ClientGone):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, invalid)


def invalid_json() -> ApiError:
    return ApiError(400, "the body is no JSON that can be parsed", code="invalid_json")


def no_object() -> ApiError:
    return ApiError(400, "expected a JSON object as body, with Content-Type: application/json")


def of_validation(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """The first field that is wrong. Of one that may be several things, what each of them expects."""
    first = errors[0]
    place = [step for step in first["loc"] if step not in ("body", "query", "path")]
    if first["type"] == "json_invalid":
        return invalid_json()
    if first["type"] in ("missing", "model_type", "model_attributes_type") and not place:
        return no_object()
    param = _path(place)
    reasons = dict.fromkeys(
        str(one["msg"]).removeprefix("Value error, ")
        for one in errors
        if _path([step for step in one["loc"] if step not in ("body", "query", "path")]) == param
    )
    return ApiError(400, f"{param}: {'; '.join(reasons)}", param=param)


def _path(steps: Sequence[Any]) -> str:
    """("messages", 0, "content", "str") -> "messages[0].content"; names of types, which unions add, are left out."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier() and step not in ("str", "int", "float", "bool", "dict", "list"):
            text += f".{step}" if text else step
    return text


class Guarded:
    """ASGI middleware: whatever else an application raises is logged, and answered without details."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            if begun:
                raise  # too late for another answer: the connection breaks off
            await unforeseen(error).response()(scope, receive, send)
