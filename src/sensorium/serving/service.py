"""`Service`: what every route needs, and how the routes describe their errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from sensorium.serving.answers import ErrorBody
from sensorium.serving.errors import ApiError
from sensorium.serving.jobs import Jobs
from sensorium.serving.metrics import Metrics
from sensorium.serving.served import (
    Served,
    ServedAssistant,
    ServedIndex,
    ServedPredictor,
    ServedSpace,
    UnknownModel,
)
from sensorium.serving.settings import Settings

Kind = TypeVar("Kind")


@dataclass
class Service:
    """What is served, within which limits, counted where.

    since: second (Unix) at which it began
    """

    served: Served
    settings: Settings
    metrics: Metrics
    jobs: Jobs
    since: int = field(default_factory=lambda: int(time.time()))

    def assistant(self, name: str | None) -> ServedAssistant:
        return _named(self.served.assistant, name)

    def space(self, name: str | None) -> ServedSpace:
        return _named(self.served.space, name)

    def predictor(self, name: str | None) -> ServedPredictor:
        return _named(self.served.predictor, name)

    def index(self, name: str | None) -> ServedIndex:
        return _named(self.served.index, name, "index")


def _named(find: Callable[[str | None], Kind], name: str | None, what: str = "model") -> Kind:
    try:
        return find(name)
    except UnknownModel as error:
        raise ApiError(404, f"{what}: {error}", param=what, code=f"{what}_not_found") from error


async def _service(
    request: Request,
) -> Service:  # async: FastAPI hands others to a thread, request by request
    service: Service = request.app.state.service
    return service


Here = Annotated[Service, Depends(_service)]


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Descriptions for OpenAPI of the errors that a route answers with; every one can be busy, late or stopped."""
    about = {
        400: "something in the request is wrong; the message says what is expected",
        401: "a key is missing or unknown (only where keys are set)",
        403: "a request by another name than this server's, or from another web page",
        404: "no such model, index, row or job",
        408: "the body took too long to arrive",
        413: "the body, or one of its media, is too large",
        415: "media of a kind that is not decoded",
        422: "media that can be read, and fit nothing",
        429: "the queue is full; Retry-After says when to come again",
        500: "a mistake of ours; the server's log explains it",
        503: "the server is being stopped",
        504: "the deadline passed",
    }
    wanted = {400, 401, 403, 404, 408, 413, 500, 503, *statuses}
    return {status: {"model": ErrorBody, "description": about[status]} for status in sorted(wanted)}


COMPUTED = errors(415, 422, 429, 504)
LOOKED_UP = errors(422)
