"""What a server counts, for Prometheus; and the middleware that counts every request and gives it an id.

sensorium_requests_total{route, method, status}, sensorium_request_seconds{route}, sensorium_queue_length{lane, name}, …
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensorium.serving.errors import CLIENT_GONE, draining, too_much
from sensorium.serving.served import Served
from sensorium.serving.settings import Settings

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH")

WATCHING = ("/healthz", "/readyz", "/metrics")  # answered to the end, and waited for by nobody

# Ids of requests: random bytes of this process, then a number. Random bytes for each are a system call, at which the
# thread that computes may take over.
PROCESS, COUNT = os.urandom(12).hex(), itertools.count()

# By status, what a refusal was for
REFUSED = {
    401: "key",
    403: "page or host",
    408: "slow body",
    413: "size",
    415: "kind of media",
    429: "full",
    CLIENT_GONE: "client left",
    503: "draining",
    504: "deadline",
}

# Of a lane's statistics: name, what it says, the field
LANES = (
    ("jobs", "Jobs computed", "jobs"),
    ("rows", "Rows computed; over batches, the mean size of a batch", "rows"),
    ("batches", "Batches computed", "batches"),
    ("full", "Jobs refused since the queue was full", "full"),
    ("late", "Jobs dropped after their deadline", "late"),
    ("left", "Jobs dropped since the client had left", "left"),
    ("waited_seconds", "Seconds that computed jobs stood in the queue", "waited"),
    ("busy_seconds", "Seconds that the thread worked", "busy"),
)


class Metrics:
    """The numbers of one application, and whether it is being stopped.

    active: requests that are being answered; held: bytes of their bodies
    given_up: whether those that are left were told to end, since the time of the server is over
    """

    def __init__(self, served: Served) -> None:
        self.registry = CollectorRegistry()
        self.active, self.held, self.draining, self.given_up = 0, 0, False, False
        self._answering: set[asyncio.Task[None]] = set()
        self.requests = Counter(
            "sensorium_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "sensorium_request_seconds",
            "Seconds from a request to the end of its answer",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.refused = Counter(
            "sensorium_refused", "Requests not answered, by why", ["reason"], registry=self.registry
        )
        self.tokens = Counter(
            "sensorium_tokens",
            "Tokens read (prompt) and written (completion)",
            ["model", "kind"],
            registry=self.registry,
        )
        flight = Gauge("sensorium_requests_in_flight", "Requests being answered now", registry=self.registry)
        flight.set_function(lambda: self.active)
        self.registry.register(_Lanes(served))

    @contextlib.contextmanager
    def answering(self, size: int) -> Iterator[None]:
        """While a request with a body of so many bytes is being answered, in the current task."""
        task = asyncio.current_task()
        assert task is not None, "requests are answered in tasks"
        self._answering.add(task)
        self.active, self.held = self.active + 1, self.held + size
        try:
            yield
        finally:
            self._answering.discard(task)
            self.active, self.held = self.active - 1, self.held - size

    def give_up(self) -> None:
        """Have every request end that is still being answered."""
        self.given_up = True
        for task in list(self._answering):
            task.cancel()

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)

    def count(self, model: str, prompt: int, completion: int = 0) -> None:
        """Tokens of one answer."""
        self.tokens.labels(model, "prompt").inc(prompt)
        self.tokens.labels(model, "completion").inc(completion)


class _Lanes(Collector):
    """Queues and batches, read when somebody asks. lane: "model", or of an index "search" or "changes"."""

    def __init__(self, served: Served) -> None:
        self.served = served

    def collect(self) -> Iterable[Metric]:
        named = [("model", name, model.lane) for name, model in self.served.models.items()]
        for name, index in self.served.indexes.items():
            named += [("search", name, index.lane), ("changes", name, index.changes)]
        queue = GaugeMetricFamily("sensorium_queue_length", "Jobs that wait", labels=["lane", "name"])
        for lane, name, one in named:
            queue.add_metric([lane, name], one.waiting)
        yield queue
        for field, about, statistic in LANES:
            family = CounterMetricFamily(f"sensorium_lane_{field}", about, labels=["lane", "name"])
            for lane, name, one in named:
                family.add_metric([lane, name], getattr(one.statistics, statistic))
            yield family


class Watch:
    """ASGI middleware around everything else: an id for each request, its count and time; and no new ones while the
    server is being stopped, or while those that are being answered hold as many bytes as they may.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, settings: Settings) -> None:
        self.app, self.metrics, self.settings = app, metrics, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        metrics, started, status, begun = self.metrics, time.perf_counter(), 500, False
        headers, ours = Headers(scope=scope), scope["path"] not in WATCHING
        id, size = _id(headers.get("x-request-id", "")), self._size(headers)

        async def sending(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message = {
                    **message,
                    "headers": [*message.get("headers", ()), (b"x-request-id", id.encode())],
                }
            await send(message)

        app: ASGIApp = self.app
        if metrics.draining and ours:
            app = draining().response()
        elif metrics.held + size > self.settings.held_bytes:
            app = too_much().response()
        try:
            with metrics.answering(size) if ours else contextlib.nullcontext():
                await app(scope, receive, sending)
        except asyncio.CancelledError:
            if not metrics.given_up:
                raise
            if not begun:
                await draining().response()(scope, receive, sending)
        finally:
            route = _route(scope)
            method = scope["method"] if scope["method"] in METHODS else "other"
            metrics.requests.labels(route, method, str(status)).inc()
            metrics.seconds.labels(route).observe(time.perf_counter() - started)
            if status in REFUSED and route != "page":
                metrics.refused.labels(REFUSED[status]).inc()

    def _size(self, headers: Headers) -> int:
        """Bytes of the body: as stated, where that is less than what is taken; without a statement, all that is."""
        most, stated = self.settings.body_bytes, headers.get("content-length", "")
        if "transfer-encoding" in headers:
            return most
        return min(int(stated[:20]), most) if stated.isascii() and stated.isdigit() else 0


def _id(given: str) -> str:
    """The caller's own, so that its log and ours can be put side by side; else a new one."""
    return given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else f"req_{PROCESS}{next(COUNT):08x}"


def _route(scope: Scope) -> str:
    """The pattern that the request fitted, of which there are few."""
    path = getattr(scope.get("route"), "path", None)
    if path and path.startswith(("/v1", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json")):
        return str(path)
    return "page" if path is not None else "none"
