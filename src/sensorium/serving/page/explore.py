"""An index seen from above, for the Explore tab.

GET /page/map?index=NAME     -> some thousand rows in the plane, with captions and what they can be coloured by
GET /page/sprites?index=NAME -> their thumbnails in one JPEG
GET /page/gap?index=NAME     -> how far captions (or a second modality) lie from what they describe
"""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from PIL import Image

from sensorium.evaluation.modality_gap import modality_gap
from sensorium.evaluation.retrieval import Embedded
from sensorium.retrieval.part import choices, part_of
from sensorium.serving.errors import ApiError
from sensorium.serving.served import Served, ServedIndex, UnknownModel
from sensorium.serving.settings import Settings
from sensorium.serving.waiting import answered
from sensorium.viewing.inline import opened
from sensorium.viewing.projection import project

POINTS = 2_000  # of a map
CAPTIONS = 400  # that are embedded for the gap
TOGETHER = 16  # captions embedded at a time: searches come in between
SPRITE = 56  # pixels of a thumbnail's side on the sheet
FINE = 10_000  # coordinates are whole numbers up to here
BINS = 40
LETTERS = 300  # of a caption


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of an index. vectors: float32[N, D]; groups: by column, N values as words."""

    ids: list[str]
    captions: list[str]
    modalities: list[str]
    vectors: np.ndarray
    thumbnails: list[bytes | None]
    groups: dict[str, list[str]]
    total: int


class Views:
    """What was computed of each index, kept until it has another number of rows."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[int, Any]] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def get(self, what: str, index: ServedIndex, make: Callable[[], Awaitable[Any]]) -> Any:
        key = (what, index.name)
        async with self._locks.setdefault(key, asyncio.Lock()):
            rows = await asyncio.to_thread(len, index.index)
            if key not in self._kept or self._kept[key][0] != rows:
                self._kept[key] = (rows, await make())
            return self._kept[key][1]


def routes(served: Served, settings: Settings) -> APIRouter:
    router = APIRouter()
    views = Views()

    def found(name: str | None) -> ServedIndex:
        try:
            return served.index(name)
        except UnknownModel as error:
            raise ApiError(404, f"index: {error}", param="index", code="index_not_found") from error

    async def part(index: ServedIndex) -> Part:
        kept: Part = await views.get("part", index, lambda: asyncio.to_thread(read, index))
        return kept

    @router.get("/page/map")
    async def map_(request: Request, index: str | None = None) -> dict[str, Any]:
        one = found(index)

        async def make() -> dict[str, Any]:
            rows = await part(one)
            return await asyncio.to_thread(drawn, rows)

        with served.gate:
            return await answered(request, views.get("map", one, make), settings.seconds)

    @router.get("/page/sprites")
    async def sprites(request: Request, index: str | None = None) -> Response:
        one = found(index)

        async def make() -> bytes:
            rows = await part(one)
            return await asyncio.to_thread(sheet, rows.thumbnails)

        with served.gate:
            data = await answered(request, views.get("sprites", one, make), settings.seconds)
        return Response(data, media_type="image/jpeg", headers={"X-Content-Type-Options": "nosniff"})

    @router.get("/page/gap")
    async def gap(request: Request, index: str | None = None) -> dict[str, Any]:
        one = found(index)

        async def make() -> dict[str, Any]:
            rows = await part(one)
            columns = await compared(rows, one)
            return {} if columns is None else await asyncio.to_thread(measured, *columns)

        with served.gate:
            return await answered(request, views.get("gap", one, make), settings.seconds)

    return router


def read(index: ServedIndex) -> Part:
    """The rows of an index that its map shows."""
    coloured_by = list(choices(index.index))
    columns = ["id", "caption", "modality", "vector", "thumbnail"]
    rows = part_of(index.index, list(dict.fromkeys([*columns, *coloured_by])), POINTS)
    return Part(
        ids=rows["id"],
        captions=[(caption or "")[:LETTERS] for caption in rows["caption"]],
        modalities=rows["modality"],
        vectors=np.array(rows["vector"], np.float32).reshape(len(rows["id"]), index.space.width),
        thumbnails=rows["thumbnail"],
        groups={name: ["" if one is None else str(one) for one in rows[name]] for name in coloured_by},
        total=len(index.index),
    )


def drawn(part: Part) -> dict[str, Any]:
    """The map as the page draws it."""
    if len(part.ids) < 3:
        return {"total": part.total, "ids": [], "method": ""}
    points, method = project(part.vectors)
    return {
        "total": part.total,
        "method": method,
        "ids": part.ids,
        "captions": part.captions,
        "modalities": part.modalities,
        "groups": part.groups,
        "points": placed(points).tolist(),
        "pictures": [thumbnail is not None for thumbnail in part.thumbnails],
        "sprite": SPRITE,
        "across": across(len(part.ids)),
    }


def placed(points: np.ndarray) -> np.ndarray:
    """float[N, 2] -> int[N, 2] from 0 to FINE, y down, both axes on one scale. Far outliers are pulled in."""
    low, high = np.quantile(points, 0.005, axis=0), np.quantile(points, 0.995, axis=0)
    longest = max(float((high - low).max()), 1e-9)
    middle = (low + high) / 2
    share = np.clip((points - middle) / longest, -0.52, 0.52) / 1.04 + 0.5
    share[:, 1] = 1 - share[:, 1]
    return np.round(share * FINE).astype(int)


def across(number: int) -> int:
    """Thumbnails in a row of the sheet."""
    return max(1, math.isqrt(max(0, number - 1)) + 1)


def sheet(thumbnails: Sequence[bytes | None]) -> bytes:
    """Thumbnails side by side on white, each in the middle of its square: a JPEG."""
    wide = across(len(thumbnails))
    high = max(1, -(-len(thumbnails) // wide))
    paper = Image.new("RGB", (wide * SPRITE, high * SPRITE), "white")
    for place, thumbnail in enumerate(thumbnails):
        if thumbnail is None:
            continue
        picture = opened(thumbnail)
        picture.thumbnail((SPRITE - 4, SPRITE - 4), Image.Resampling.BICUBIC)
        left, top = place % wide * SPRITE, place // wide * SPRITE
        w, h = picture.size
        paper.paste(picture, (left + (SPRITE - w) // 2, top + (SPRITE - h) // 2))
    out = io.BytesIO()
    paper.save(out, "JPEG", quality=80)
    return out.getvalue()


# ---- the gap ----------------------------------------------------------------------------------------------


async def compared(part: Part, index: ServedIndex) -> tuple[Embedded, Embedded, tuple[str, str]] | None:
    """Two columns that describe the same: two modalities of the same ids, or media and their captions.

    None where there is neither.
    """
    kinds = sorted(set(part.modalities))
    for first in kinds:
        for second in kinds[kinds.index(first) + 1 :]:
            one, two = (_rows(part, kind) for kind in (first, second))
            both = {part.ids[n] for n in one} & {part.ids[n] for n in two}
            if len(both) >= 5:
                columns = [
                    Embedded(part.vectors[rows], [(part.ids[n],) for n in rows]) for rows in (one, two)
                ]
                return columns[0], columns[1], (first, second)
    media = [n for n, caption in enumerate(part.captions) if caption.strip() and part.modalities[n] != "text"]
    if "text" not in index.modalities or len(media) < 5:
        return None
    chosen = np.random.default_rng(0).permutation(len(media))[:CAPTIONS]
    media = [media[n] for n in sorted(chosen)]
    words = list(dict.fromkeys(part.captions[n] for n in media))
    vectors = [
        await index.space.embed("text", words[start : start + TOGETHER])
        for start in range(0, len(words), TOGETHER)
    ]
    kind = part.modalities[media[0]] if len({part.modalities[n] for n in media}) == 1 else "media"
    return (
        Embedded(part.vectors[media], [(part.captions[n],) for n in media]),
        Embedded(np.concatenate(vectors), [(caption,) for caption in words]),
        (kind, "captions"),
    )


def measured(first: Embedded, second: Embedded, names: tuple[str, str]) -> dict[str, Any]:
    """The gap in numbers, as histograms of cosines, and as points of one plane with pairs joined."""
    gap = modality_gap(first, second)
    meant: dict[Any, int] = {meanings[0]: n for n, meanings in enumerate(second.meanings)}
    pairs = [(n, meant[meanings[0]]) for n, meanings in enumerate(first.meanings) if meanings[0] in meant]
    points = placed(project(np.concatenate([first.vectors, second.vectors]), "pca")[0])
    cosines = first.vectors @ second.vectors.T
    matched = np.array([cosines[n, m] for n, m in pairs])
    edges = np.linspace(
        min(matched.min(), cosines.min()) - 0.01, max(matched.max(), cosines.max()) + 0.01, BINS + 1
    )
    return {
        "names": names,
        "numbers": {name: round(value, 4) for name, value in gap.as_dict().items()},
        "edges": edges.round(4).tolist(),
        "matched": (np.histogram(matched, edges)[0] / len(matched)).round(5).tolist(),
        "all": (np.histogram(cosines, edges)[0] / cosines.size).round(5).tolist(),
        "first": points[: len(first.vectors)].tolist(),
        "second": points[len(first.vectors) :].tolist(),
        "pairs": pairs,
    }


def _rows(part: Part, modality: str) -> list[int]:
    return [n for n, one in enumerate(part.modalities) if one == modality]
