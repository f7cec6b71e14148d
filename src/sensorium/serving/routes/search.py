"""POST /v1/search: words, media, a vector or something of the index -> what is near it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request

from sensorium.retrieval.index import Hit
from sensorium.serving.answers import Found, SearchAnswer
from sensorium.serving.filters import checked_filter
from sensorium.serving.posted import Posted
from sensorium.serving.service import COMPUTED, Here
from sensorium.serving.things import invalid, of_modality, words
from sensorium.serving.waiting import answered
from sensorium.serving.wire import SearchRequest

router = APIRouter(tags=["search"], route_class=Posted)


@router.post("/v1/search", responses=COMPUTED)
async def search(request: Request, asked: SearchRequest, here: Here) -> SearchAnswer:
    """The nearest rows of an index, best first.

    Several queries are averaged: a picture and "in blue". Scores across modalities do not compare well; name one
    `modality` where the order matters. `where` is a condition on the columns that GET /v1/index/{name} lists.
    """
    asked.known()
    index, settings = here.index(asked.index), here.settings
    top_k = 10 if asked.top_k is None else asked.top_k
    if top_k > settings.top_k:
        raise invalid("top_k", f"got {top_k}; at most {settings.top_k} hits are given")
    where = None if asked.where is None else checked_filter(asked.where)
    if asked.id is not None:
        words(asked.id, settings, "id")

    async def work() -> list[Hit]:
        query: dict[str, Any] = {
            name: await of_modality(name, content, settings, name)
            for name in ("text", "image", "audio", "video")
            if (content := getattr(asked, name)) is not None
        }
        return await index.search(
            **query,
            vector=asked.vector,
            id=asked.id,
            top_k=top_k,
            where=where,
            modality=asked.modality,
            seconds=settings.seconds,
        )

    hits = await answered(request, work(), settings.seconds)
    return SearchAnswer(index=index.name, data=[_found(index.name, hit) for hit in hits])


def _found(index: str, hit: Hit) -> Found:
    """The path of a hit is this machine's own affair and stays here."""
    shown = f"/v1/index/{quote(index)}/thumbnail?{urlencode({'id': hit.id})}" if hit.thumbnail else None
    return Found(
        id=hit.id,
        score=hit.score,
        modality=hit.modality,
        caption=hit.caption,
        fields=hit.fields,
        thumbnail=shown,
    )
