"""GET /healthz, /readyz, /metrics: for those who watch the process."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from sensorium.serving.service import Here

router = APIRouter(tags=["health"])


@router.get("/healthz", responses={200: {"content": {"application/json": {"example": {"status": "ok"}}}}})
async def healthz(here: Here) -> dict[str, Any]:
    """Whether the process lives: "ok", or "draining" while it is being stopped. Never waits for a model."""
    return {"status": "draining" if here.metrics.draining else "ok"}


@router.get("/readyz", responses={503: {"description": "it is being stopped: send nothing more here"}})
async def readyz(here: Here) -> Response:
    """Whether to send requests here."""
    if here.metrics.draining:
        return JSONResponse({"status": "draining"}, 503, {"Retry-After": "10"})
    return JSONResponse(
        {"status": "ok", "models": list(here.served.models), "indexes": list(here.served.indexes)}
    )


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(here: Here) -> Response:
    """Requests, seconds, queues, batches and tokens in Prometheus' text format."""
    return Response(here.metrics.text(), media_type=CONTENT_TYPE_LATEST)
