"""Where an answer looked, for the Ask tab. Answers themselves come from /v1/chat/completions.

POST /page/look {model, messages, answer} -> maps of what each word's probability lost where a spot was hidden
GET /page/scene?number=N -> a drawn scene to ask about
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from PIL import Image
from pydantic import Field

from sensorium.data.scenes import Scenes
from sensorium.facade.looking import Look, look
from sensorium.serving.batching import Lane, each_batch
from sensorium.serving.errors import ApiError
from sensorium.serving.served import Served, ServedAssistant, UnknownModel
from sensorium.serving.settings import Settings
from sensorium.serving.space import deadline_in
from sensorium.serving.things import messages_of
from sensorium.serving.waiting import answered
from sensorium.serving.wire import Message, Wire

SCENES = 9_999  # the last that is drawn
QUEUE = 4  # looks that may wait: each takes as long as some answers


class LookRequest(Wire):
    """A conversation up to the question, and the answer that it got."""

    model: str | None = None
    messages: list[Message] = Field(min_length=1)
    answer: str = Field(min_length=1, max_length=2_000)


def routes(served: Served, settings: Settings) -> APIRouter:
    router = APIRouter()
    # A lane of its own, one look at a time: answers do not wait for it.
    lane = Lane("look", each_batch(_looked), 1, 0.0, QUEUE)

    @router.post("/page/look")
    async def looked(asked: LookRequest, request: Request) -> dict[str, Any]:
        asked.known()
        try:
            model = served.assistant(asked.model)
        except UnknownModel as error:
            raise ApiError(404, f"model: {error}", param="model", code="model_not_found") from error

        async def work() -> list[Look]:
            messages = await messages_of(asked.messages, model.modalities, settings)
            with served.gate:
                job = (model, messages, asked.answer)
                found: list[Look] = await lane.submit(job, deadline_in(settings.seconds))
            return found

        looks = await answered(request, work(), settings.seconds)
        return {"media": [_drawn(one, model) for one in looks]}

    @router.get("/page/scene")
    async def scene(number: Annotated[int, Query(ge=0, le=SCENES)] = 0) -> Response:
        data = await asyncio.to_thread(_scene, number)
        return Response(data, media_type="image/png", headers={"X-Content-Type-Options": "nosniff"})

    return router


def _scene(number: int) -> bytes:
    """A picture to ask about, for who has none at hand: PNG."""
    scenes = Scenes("new_scenes")
    out = io.BytesIO()
    Image.fromarray(scenes.picture(scenes.scene(number))).save(out, "PNG")
    return out.getvalue()


def _looked(jobs: Sequence[tuple[ServedAssistant, Any, str]]) -> list[Any]:
    [(model, messages, answer)] = jobs
    return [look(model.assistant, messages, answer)]


def _drawn(one: Look, model: ServedAssistant) -> dict[str, Any]:
    """As the page draws it. fit: how the grid lies on the picture."""
    encoder: Any = model.assistant.model.encoders[one.name]
    boxed = str(getattr(encoder, "preparation", "")).startswith("letterbox")
    return {
        "modality": one.modality,
        "number": one.number,
        "fit": "letterbox" if boxed else "stretch",
        "words": list(one.words),
        "shape": list(one.lost.shape[1:]),
        "lost": np.round(one.lost.reshape(len(one.words), -1), 4).tolist(),
        "seen": np.round(one.seen, 4).tolist(),
        "blind": np.round(one.blind, 4).tolist(),
    }
