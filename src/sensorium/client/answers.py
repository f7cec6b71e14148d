"""What a server answers: hits, predictions, and errors in its own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx


class ServerError(ValueError):
    """What the server answered instead. status: of HTTP, 0 where there was no answer; retry_after: seconds."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True)
class RemoteHit:
    """One answer of a search: as `retrieval.index.Hit`, but for the path, which is the server's own affair."""

    id: str
    score: float
    modality: str
    caption: str
    fields: Mapping[str, Any]
    thumbnail_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class RemotePrediction:
    """What a fusion network says of a row: as `facade.Prediction`."""

    answers: Mapping[str, Any]
    probabilities: Mapping[str, Mapping[str, float]]
    seen: tuple[str, ...]
    gates: Mapping[str, float] | None = None


def error_of(response: httpx.Response) -> ServerError:
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"{response.status_code} {response.reason_phrase} from {response.url}"
    wait = response.headers.get("Retry-After", "")
    return ServerError(response.status_code, message, float(wait) if wait.isdigit() else None)


@contextmanager
def reaching(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise ServerError(0, f"{url}: no answer in time") from error
    except httpx.TransportError as error:
        raise ServerError(
            0, f"{url}: cannot be reached ({error}); start a server: sensorium serve CHECKPOINT"
        ) from error
