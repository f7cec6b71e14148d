"""`serve`: the process. It listens, says where, and leaves nothing behind that it accepted.

SIGTERM | Ctrl-C ──► new requests 503 ──► those in flight end, and additions to indexes ──► lanes drain ──► exit 0
"""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from sensorium.serving.api import create_app
from sensorium.serving.served import Served
from sensorium.serving.service import Service
from sensorium.serving.settings import Settings

POLL = 0.02  # seconds
CLOSING = 5  # seconds for connections that stay open when all is answered, such as a browser's


def bound(settings: Settings) -> socket.socket:
    """A socket of the address. Bound before models are loaded, so that a port in use is told at once; who comes until
    they are is turned away.

    Raises ValueError that says what to type.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Told that it is TCP, asyncio sends each part of an answer at once (TCP_NODELAY); else the body waits 40 ms for the
    # client to confirm the head.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        reason = (error.strerror or str(error)).lower()
        raise ValueError(
            f"cannot listen at {settings.host}:{settings.port}: {reason}. Is another server running? Take another "
            f"port (--port {min(settings.port + 1, 65535)}), or any that is free (--port 0)"
        ) from error
    return listening


def address(listening: socket.socket, settings: Settings) -> str:
    """What to type into a browser on this machine."""
    host = "localhost" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def serve(
    served: Served,
    settings: Settings,
    listening: socket.socket,
    ready: Callable[[], None] = lambda: None,
    log_level: str = "warning",
) -> bool:
    """Serve until SIGTERM or Ctrl-C. Returns whether all that was accepted is answered.

    ready: called once requests are answered
    """
    app = create_app(served, settings)
    # Half a million objects of models and libraries that stay: looking through them for garbage stops all threads for
    # a tenth of a second, again and again.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        app,
        log_level=log_level,
        access_log=log_level in ("info", "debug"),
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=CLOSING,
        ws="none",
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        server = Server(config, app)
        runner.run(_running(server, listening, ready))
    return server.drained


async def _running(server: Server, listening: socket.socket, ready: Callable[[], None]) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if not serving.done():
        ready()
    await serving


class Server(uvicorn.Server):
    """uvicorn's, but for how it ends: it goes on listening, to refuse with 503, until what it began is done.

    Told twice to stop, it stops at once.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self.service: Service = app.state.service
        self.drained = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Task[None] | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None = None) -> None:
        """Called by the signal, in the main thread. uvicorn's would note the signal and raise it again at the end: the
        exit status would say that we were killed."""
        if self.service.metrics.draining or self._loop is None:
            self.should_exit = self.force_exit = True
            return
        self.service.metrics.draining = True
        self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._ending = asyncio.create_task(self._drained())

    async def _drained(self) -> None:
        service = self.service
        try:
            async with asyncio.timeout(service.settings.drain):
                while service.metrics.active:
                    await asyncio.sleep(POLL)
                await service.jobs.finish()
                await service.served.drain()
            self.drained = True
        except TimeoutError:
            service.metrics.give_up()
            await asyncio.sleep(POLL)
            self.config.timeout_graceful_shutdown = 1
        self.should_exit = True
