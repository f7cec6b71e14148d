"""`Posted`: a route that takes a JSON object, read and checked in one step.

body ──► JSON ──► what the endpoint asks for ──► endpoint(request, asked, here) ──► answer
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from sensorium.serving.errors import ClientGone, invalid_json, no_object, of_validation


class Posted(APIRoute):
    """For endpoints of (request, asked: a pydantic model, here: the Service) that return a model or a Response.

    In /openapi.json it is a route as others. When it is called, FastAPI would find out anew for each request where
    every parameter comes from, and check the answer again: a third of what a request costs.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.asks: type[BaseModel] = get_type_hints(endpoint)["asked"]

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        request = Request(scope, receive, send)
        answer = await self.endpoint(request, await self._asked(request), request.app.state.service)
        if not isinstance(answer, Response):
            answer = Response(answer.model_dump_json(), media_type="application/json")
        await answer(scope, receive, send)

    async def _asked(self, request: Request) -> BaseModel:
        """Raises ApiError for a body that is something else."""
        try:
            body = await request.body()
        except ClientDisconnect as error:
            raise ClientGone from error
        if not body or not _is_json(request.headers.get("content-type", "")):
            raise no_object()
        try:
            return self.asks.model_validate(json.loads(body))
        except ValidationError as error:
            raise of_validation(error.errors(include_url=False)) from error
        except (ValueError, RecursionError) as error:
            raise invalid_json() from error


def _is_json(content_type: str) -> bool:
    kind, _, name = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (name == "json" or name.endswith("+json"))
