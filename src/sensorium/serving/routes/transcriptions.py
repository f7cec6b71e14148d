"""POST /v1/audio/transcriptions: what is said in a recording."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import PlainTextResponse

from sensorium.serving.answers import TranscriptionAnswer
from sensorium.serving.errors import ApiError
from sensorium.serving.intake import source_of_bytes
from sensorium.serving.served import ServedAssistant
from sensorium.serving.service import COMPUTED, Here, Service
from sensorium.serving.things import invalid
from sensorium.serving.waiting import answered

router = APIRouter(tags=["audio"])


@router.post(
    "/v1/audio/transcriptions",
    response_model=TranscriptionAnswer,
    responses=COMPUTED
    | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "the words"}},
)
async def transcriptions(
    request: Request,
    here: Here,
    file: Annotated[UploadFile, File(description="wav, mp3, flac, ogg, m4a … or the sound of a video")],
    model: Annotated[str | None, Form(description="by default the first that hears")] = None,
    response_format: Annotated[Literal["json", "text"], Form()] = "json",
    temperature: Annotated[float, Form(ge=0, le=2)] = 0.0,
    language: Annotated[str | None, Form(description="ignored: the model writes what it hears")] = None,
    prompt: Annotated[str | None, Form(description="ignored")] = None,
    stream: Annotated[bool, Form(description="only false")] = False,
) -> Any:
    """The words of a recording, by a language model that hears."""
    if stream:
        raise invalid("stream", "is not supported for transcriptions; leave it out")
    hears, settings = _hearing(here, model), here.settings
    data = await file.read(settings.media.bytes + 1)
    source = source_of_bytes("audio", data, settings, "file", file.content_type or "")
    options = {"temperature": temperature, "max_tokens": settings.max_tokens}
    written = await answered(
        request, hears.transcribe(source, seconds=settings.seconds, **options), settings.seconds
    )
    here.metrics.count(hears.name, written.prompt_tokens, written.completion_tokens)
    if response_format == "text":
        return PlainTextResponse(written.text + "\n")
    usage = {
        "type": "tokens",
        "input_tokens": written.prompt_tokens,
        "output_tokens": written.completion_tokens,
        "total_tokens": written.prompt_tokens + written.completion_tokens,
    }
    return TranscriptionAnswer(text=written.text, usage=usage)


def _hearing(here: Service, name: str | None) -> ServedAssistant:
    """The model of a name, or the first that hears. Raises ApiError that names those which do."""
    hearing = {
        one.name: one
        for one in here.served.models.values()
        if isinstance(one, ServedAssistant) and "audio" in one.modalities
    }
    if name is None and hearing:
        return next(iter(hearing.values()))
    if name in hearing:
        assert name is not None
        return hearing[name]
    there = ", ".join(hearing) if hearing else "none"
    reads = "; ".join(f"{one.name} takes {', '.join(one.modalities)}" for one in here.served.models.values())
    got = (
        "no model that is served hears" if name is None else f"{name[:100]!r} is no language model that hears"
    )
    raise ApiError(
        404, f"model: {got}; those that do: {there} ({reads})", param="model", code="model_not_found"
    )
