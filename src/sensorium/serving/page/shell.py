"""The frame of the page: its files, the policy that lets nothing else in, and what is served.

GET / -> HTML in the browser's language;  /page/look/NAME -> style and scripts;  /page/served -> models and indexes
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from sensorium.retrieval.part import choices
from sensorium.serving.page.search import examples
from sensorium.serving.page.words import LANGUAGES, WORDS
from sensorium.serving.served import Served, ServedIndex, ServedPredictor
from sensorium.serving.settings import Settings

KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
LOOK = (
    "style.css",
    "shell.js",
    "media.js",
    "search.js",
    "ask.js",
    "heat.js",
    "compare.js",
    "explore.js",
    "reports.js",
    "icon.svg",
)
# Nothing from outside and no script but ours: a caption that got through unescaped still could not act.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src data: blob:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Cache-Control": "no-cache",
}


def routes(served: Served, settings: Settings) -> APIRouter:
    router = APIRouter()
    folder = files("sensorium.serving.page").joinpath("look")
    content = {name: folder.joinpath(name).read_bytes() for name in LOOK}
    template = folder.joinpath("index.html").read_text(encoding="utf-8")
    pages = {language: translated(template, language) for language in LANGUAGES}

    @router.get("/")
    async def page(request: Request) -> Response:
        language = language_of(request.headers.get("accept-language", ""))
        return Response(
            pages[language], media_type="text/html", headers=HEADERS | {"Vary": "Accept-Language"}
        )

    @router.get("/page/look/{name}")
    async def look(name: str, request: Request) -> Response:
        if name not in content:
            return Response("no such file", 404, media_type="text/plain")
        tag = f'"{hashlib.sha256(content[name]).hexdigest()[:20]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        if request.headers.get("if-none-match") == tag:
            return Response(None, 304, headers)
        return Response(content[name], media_type=KINDS[name.rpartition(".")[2]], headers=headers)

    @router.get("/page/served")
    async def what_is_served() -> dict[str, Any]:
        return {
            "models": [_model(name, model) for name, model in served.models.items()],
            "indexes": [
                await asyncio.to_thread(_index, name, index) for name, index in served.indexes.items()
            ],
            "limits": {"bytes": settings.media.bytes, "seconds": settings.media.seconds},
        }

    return router


def language_of(accepted: str) -> str:
    """The page's language for an Accept-Language header: the one of ours that it names first or most wanted."""
    wanted = []
    for place, entry in enumerate(accepted.split(",")):
        name, _, quality = entry.strip().partition(";")
        number = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", quality)
        wanted.append((-(float(number[1]) if number else 1.0), place, name.strip().lower()[:2]))
    return next((name for _, _, name in sorted(wanted) if name in LANGUAGES), "en")


def translated(template: str, language: str) -> str:
    """The template with its words: in elements (data-word) and in attributes (data-word-placeholder, …)."""

    def inside(found: re.Match[str]) -> str:
        return f"{found[1]}{html.escape(WORDS[found[2]][language])}"

    def attribute(found: re.Match[str]) -> str:
        return f'{found[0]} {found[1]}="{html.escape(WORDS[found[2]][language])}"'

    text = re.sub(r'(<[^>]*\sdata-word="([\w.]+)"[^>]*>)(?=</)', inside, template)
    text = re.sub(r'data-word-([a-z-]+)="([\w.]+)"', attribute, text)
    words = json.dumps(WORDS, ensure_ascii=False).replace("<", "\\u003c")
    return text.replace("{words}", words).replace("{language}", language)


def _model(name: str, model: Any) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name, "task": model.task}
    if isinstance(model, ServedPredictor):
        predictor = model.predictor
        return about | {"columns": dict(predictor.columns), "tasks": [task.name for task in predictor.tasks]}
    return about | {"modalities": list(model.modalities)}


def _index(name: str, index: ServedIndex) -> dict[str, Any]:
    stats = index.stats()
    return {
        "name": name,
        "model": index.space.name,
        "rows": stats["rows"],
        "modalities": stats["modalities"],
        "takes": list(index.modalities),
        "choices": choices(index.index),
        "examples": examples(index),
    }
