"""`create_app`: the web application over what is served.

request ──► Watch (id, counts) ──► CORS ──► Door (host, page, key) ──► BodyLimit ──► Guarded ──► a route ──► answer
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from sensorium import __version__
from sensorium.serving.body import BodyLimit
from sensorium.serving.door import Door
from sensorium.serving.errors import Guarded, install
from sensorium.serving.jobs import Jobs
from sensorium.serving.metrics import Metrics, Watch
from sensorium.serving.routes import (
    chat,
    classify,
    docs,
    embeddings,
    health,
    index,
    models,
    search,
    transcriptions,
)
from sensorium.serving.served import Served
from sensorium.serving.service import Service
from sensorium.serving.settings import Settings

ABOUT = (
    "Chat, embeddings and transcriptions in OpenAI's wire format: their clients work with base_url set to /v1 of this "
    "address. Search, indexes and classification beside them."
)


def create_app(served: Served, settings: Settings | None = None) -> FastAPI:
    """The application. `app.state.service` is its `Service`."""
    settings = settings or Settings()
    rooms = (models, chat, embeddings, transcriptions, classify, search, index, health, docs)
    app = FastAPI(
        title="Sensorium",
        version=__version__,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        # Routes of routers that are included are looked for twice, request by request.
        routes=[route for room in rooms for route in room.router.routes],
        telemetry={"tracing": False, "metrics": False, "logs": False},  # /metrics has the numbers
    )
    metrics = Metrics(served)
    app.state.service = Service(served, settings, metrics, Jobs(settings.held_bytes))
    install(app)
    if settings.page:
        from sensorium.serving.page import mount

        mount(app, served, settings)
    # The last one added is the first one asked.
    app.add_middleware(Guarded)
    app.add_middleware(BodyLimit, most_bytes=settings.body_bytes)
    app.add_middleware(Door, settings=settings)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(Watch, metrics=metrics, settings=settings)
    return app
