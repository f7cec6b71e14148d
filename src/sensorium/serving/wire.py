"""What comes in: requests as JSON, in OpenAI's formats where there is one. What goes out is in `answers`.

JSON ──pydantic──► ChatRequest | EmbeddingsRequest | ClassifyRequest | SearchRequest | RowsRequest
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from sensorium.serving.errors import ApiError

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAA"
    "AElFTkSuQmCC"
)

# Settings of OpenAI's requests that change nothing here, whatever their value.
IGNORED = (
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
    "reasoning_effort",
    "verbosity",
)

# Those that are taken only with a value that asks for nothing.
WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
}


class Wire(BaseModel):
    """Unknown fields are refused by `known`, in words that say which there are."""

    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False, json_schema_extra={"additionalProperties": False}
    )

    ignored: ClassVar[tuple[str, ...]] = ()
    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def known(self, where: str = "") -> None:
        """Raises ApiError 400 for a field that there is not, or that is not supported with this value."""
        for name, value in (self.model_extra or {}).items():
            param = f"{where}.{name}" if where else name
            if name in self.ignored or (name in self.without_effect and value is None):
                continue
            if name in self.without_effect:
                if value in self.without_effect[name]:
                    continue
                raise ApiError(
                    400,
                    f"{param}: is not supported here; leave it out",
                    param=param,
                    code="unsupported_value",
                )
            fields = list(type(self).model_fields)
            near = difflib.get_close_matches(name, fields, n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise ApiError(
                400,
                f"unrecognized request argument {param[:100]!r}; there are: {', '.join(fields)}.{guess}",
                param=param[:100],
                code="unknown_parameter",
            )


# ---- chat --------------------------------------------------------------------------------------------------------


def _part(kind: str, inside: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", kind],
        "properties": {"type": {"const": kind}, kind: inside},
    }


_URL = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}
_DATA = {
    "type": "object",
    "required": ["data", "format"],
    "properties": {"data": {"type": "string"}, "format": {"type": "string"}},
}
PARTS = {
    "anyOf": [
        _part("text", {"type": "string"}),
        _part("image_url", _URL),
        _part("input_audio", _DATA),
        _part("audio_url", _URL),
        _part("video_url", _URL),
        _part("input_video", _DATA),
        _part("state", {"type": "array", "items": {"type": "number"}}),
    ]
}

# Taken apart by `intake`, which says more about media than a schema could.
Part = Annotated[dict[str, Any], WithJsonSchema(PARTS)]


class Message(Wire):
    """One turn. An answer of this server can be sent back as it came."""

    ignored = ("name", "annotations")
    without_effect = {
        "refusal": (),
        "audio": (),
        "tool_calls": ([],),
        "function_call": (),
        "reasoning_content": ("",),
    }

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None


class StreamOptions(Wire):
    ignored = ("include_obfuscation",)

    include_usage: bool | None = None


class ChatRequest(Wire):
    """A conversation to go on with. Without `temperature` the likeliest words are taken."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "examples": [
                {
                    "messages": [
                        {
                            "role": "user",
                            "content": [
                                {"type": "image_url", "image_url": {"url": PIXEL}},
                                {"type": "text", "text": "What colour is it?"},
                            ],
                        }
                    ],
                    "max_tokens": 16,
                }
            ],
        }
    )
    ignored = IGNORED
    without_effect = WITHOUT_EFFECT

    model: str | None = Field(None, description="of /v1/models; by default the first that chats")
    messages: list[Message] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, description="capped by the server")
    max_completion_tokens: int | None = Field(None, ge=1, description="the same by its newer name")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1_000_000, description="draw from the k likeliest; 0: all")
    n: int | None = Field(None, ge=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None


# ---- embeddings, classification ----------------------------------------------------------------------------------

THING = {
    "anyOf": [
        {"type": "string"},
        *(
            {"type": "object", "required": [name], "properties": {name: {"type": "string"}}}
            for name in ("text", "image", "audio", "video")
        ),
    ]
}

# Words; or one medium by its modality, {"image": "data:image/png;base64,…"}; or a part of a message
Thing = Annotated[str | dict[str, Any], WithJsonSchema(THING)]
Things = Annotated[
    Any,
    WithJsonSchema({"anyOf": [*THING["anyOf"], {"type": "array", "items": THING, "minItems": 1}]}),
]


class EmbeddingsRequest(Wire):
    """Words, pictures, sounds and clips, in any order, as vectors of one space."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "examples": [{"input": ["a red fish", {"image": PIXEL}], "encoding_format": "float"}],
        }
    )
    ignored = ("user",)

    model: str | None = Field(None, description="of /v1/models; by default the first that embeds")
    input: Things
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1, description="only the width that the model has")


class ClassifyRequest(Wire):
    """With a joint embedding: which of the labels fit, from their words alone. With a fusion network: its tasks'
    answers about rows, {"column": words or data URI}, of which columns may be missing."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "examples": [
                {
                    "input": [{"image": PIXEL}],
                    "labels": ["a fish", "a bird"],
                    "templates": ["a drawing of {}"],
                }
            ],
        }
    )

    model: str | None = Field(None, description="of /v1/models; by default the first that can")
    input: Things
    labels: list[str] | None = Field(None, description="with a joint embedding: words to choose among")
    templates: list[str] | None = Field(None, description="sentences in which {} becomes the label")


# ---- search, index -----------------------------------------------------------------------------------------------


class SearchRequest(Wire):
    """What to look for: words, media, a vector, or the id of something that is there. Several are averaged."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "examples": [{"text": "a red fish", "top_k": 3, "modality": "image"}],
        }
    )

    index: str | None = Field(None, description="of /v1/index; by default the first")
    text: str | None = None
    image: str | None = Field(None, description="a data URI, as audio and video are")
    audio: str | None = None
    video: str | None = None
    vector: list[float] | None = None
    id: str | None = None
    top_k: int | None = Field(None, ge=1)
    where: str | None = Field(None, description="a condition on columns: split = 'test' AND year > 2000")
    modality: str | list[str] | None = Field(None, description="only hits of this one or these")


class NewThing(Wire):
    """Something to add: exactly one of text, image, audio and video (data URIs but for text)."""

    id: str | None = Field(None, min_length=1, max_length=512, description="by default sha256 of its content")
    text: str | None = None
    image: str | None = None
    audio: str | None = None
    video: str | None = None
    caption: str | None = Field(None, max_length=10_000)
    fields: dict[str, str | int | float | bool | None] | None = None


class RowsRequest(Wire):
    """Rows to add. What the index holds already, by its content, is not added again."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "examples": [
                {"rows": [{"image": PIXEL, "caption": "a red square", "fields": {"split": "mine"}}]}
            ],
        }
    )

    rows: list[NewThing] = Field(min_length=1)
