"""POST /v1/embeddings: words, pictures, sounds and clips of one request -> vectors of one space."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from sensorium.media import Source
from sensorium.serving.answers import EmbeddingsAnswer
from sensorium.serving.posted import Posted
from sensorium.serving.served import ServedSpace
from sensorium.serving.service import COMPUTED, Here
from sensorium.serving.things import invalid, things_of
from sensorium.serving.waiting import answered, together
from sensorium.serving.wire import EmbeddingsRequest

router = APIRouter(tags=["embeddings"], route_class=Posted)
# Numbers of vectors: so few are written in less time than handing them to a thread takes
AT_ONCE = 2**11


@router.post("/v1/embeddings", response_model=EmbeddingsAnswer, responses=COMPUTED)
async def embeddings(request: Request, asked: EmbeddingsRequest, here: Here) -> Any:
    """A unit vector for each thing, in the order given; things of all modalities can stand in one request.

    The dot product of two vectors is their cosine. `usage` counts the tokens of texts.
    """
    asked.known()
    model, settings = here.space(asked.model), here.settings
    if asked.dimensions not in (None, model.width):
        raise invalid("dimensions", f"got {asked.dimensions}; the vectors of {model.name} have {model.width}")

    async def work() -> tuple[np.ndarray, int]:
        return await embedded(model, await things_of(asked.input, settings), settings.seconds)

    vectors, tokens = await answered(request, work(), settings.seconds)
    here.metrics.count(model.name, tokens)
    told = (model.name, vectors, tokens, asked.encoding_format == "base64")
    body = _body(*told) if vectors.size <= AT_ONCE else await asyncio.to_thread(_body, *told)
    return Response(body, media_type="application/json")


async def embedded(
    model: ServedSpace, things: Sequence[tuple[str, Source | str]], seconds: float
) -> tuple[np.ndarray, int]:
    """Things of any modalities -> float32[N, D], in their order, and the tokens of texts. Those of one modality go
    together."""
    places: dict[str, list[int]] = {}
    for n, (modality, _) in enumerate(things):
        places.setdefault(modality, []).append(n)
    for modality in places:
        if modality not in model.modalities:
            raise invalid("input", f"got {modality}; {model.name} embeds {', '.join(model.modalities)}")
    found = await together(
        model.counted(modality, [things[n][1] for n in wanted], seconds=seconds)
        for modality, wanted in places.items()
    )
    tokens = sum(rows.tokens for rows in found)
    if len(found) == 1:
        return found[0].vectors, tokens
    vectors = np.zeros((len(things), model.width), np.float32)
    for wanted, rows in zip(places.values(), found, strict=True):
        vectors[wanted] = rows.vectors
    return vectors, tokens


def _body(name: str, vectors: np.ndarray, tokens: int, packed: bool) -> bytes:
    """base64 is of the little-endian float32, as OpenAI's clients ask by default."""
    rows: list[Any]
    if packed:
        rows = [base64.b64encode(row).decode() for row in np.ascontiguousarray(vectors, "<f4")]
    else:
        rows = vectors.tolist()
    return to_json(
        {
            "object": "list",
            "model": name,
            "data": [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(rows)],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )
