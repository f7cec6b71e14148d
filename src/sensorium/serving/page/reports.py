"""The runs behind what is served: their reports, or the cards of their checkpoints.

GET /page/reports -> [{name, kind, …}];  /page/reports/NAME -> the page that the run wrote, which may do nothing here

A report is asked for by its model's name: no path comes from the caller.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from sensorium.serving.served import Served, ServedAssistant, ServedModel, ServedSpace
from sensorium.serving.settings import Settings

# The report's own script may run, in an origin of its own: it can neither read this page nor ask the server.
SANDBOX = {
    "Content-Security-Policy": "sandbox allow-scripts; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
MOST = 2**26  # bytes of a report


def routes(served: Served, settings: Settings) -> APIRouter:
    router = APIRouter()
    found = written(served)

    @router.get("/page/reports")
    async def reports() -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "kind": "report" if path.suffix == ".html" else "card",
                "bytes": path.stat().st_size,
            }
            | {"changed": int(path.stat().st_mtime)}
            for name, path in found.items()
            if path.is_file()
        ]

    @router.get("/page/reports/{name}")
    async def report(name: str) -> Response:
        path = found.get(name)
        if path is None or not path.is_file() or path.stat().st_size > MOST:
            return Response("no such report", 404, media_type="text/plain")
        kind = "text/html" if path.suffix == ".html" else "text/plain"
        content = await asyncio.to_thread(path.read_bytes)
        return Response(content, media_type=f"{kind}; charset=utf-8", headers=SANDBOX)

    return router


def written(served: Served) -> dict[str, Path]:
    """By model, the report of its run; where there is none, the card beside its weights."""
    found = {}
    for name, model in served.models.items():
        folder = _folder(model)
        if folder is None:
            continue
        run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
        steps = sorted((run / "checkpoints").glob("step-*/README.md"))
        places = [run / "report.html", folder / "README.md", *reversed(steps)]
        there = next((place for place in places if place.is_file()), None)
        if there is not None:
            found[name] = there
    return found


def _folder(model: ServedModel) -> Path | None:
    if isinstance(model, ServedSpace):
        source = model.space.source
    elif isinstance(model, ServedAssistant):
        source = model.assistant.source
    else:
        source = model.predictor.source
    return Path(source) if source else None
