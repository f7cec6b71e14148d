"""What goes out: answers and errors as JSON, in OpenAI's formats where there is one. What comes in is in `wire`.

ChatAnswer | EmbeddingsAnswer | ClassifyAnswer | SearchAnswer | … ──pydantic──► JSON
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class ErrorBody(BaseModel):
    """What went wrong. type: the kind; param: the field that is wrong; code: for programs."""

    class Details(BaseModel):
        message: str
        type: str
        param: str | None = None
        code: str | None = None

    error: Details


# ---- models ------------------------------------------------------------------------------------------------------


class ModelCard(BaseModel):
    """One model. task: chat, embedding or classification; modalities: what it takes; prompts: the sentences that a
    language model was taught to caption and to transcribe with."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "sensorium"
    task: str
    modalities: list[str]
    width: int | None = None
    prompts: dict[str, str] | None = None
    columns: dict[str, str] | None = None
    tasks: dict[str, list[str] | None] | None = None


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]


# ---- chat --------------------------------------------------------------------------------------------------------


class Usage(BaseModel):
    """Tokens. prompt_tokens: of what was read, each medium with the positions that it takes."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    index: int
    message: AnswerMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class ChatAnswer(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


# ---- embeddings, classification ----------------------------------------------------------------------------------


class Embedded(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens of texts; other media count none."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    object: Literal["list"] = "list"
    model: str
    data: list[Embedded]
    usage: EmbeddingUsage


class Classified(BaseModel):
    """answers, scores: by task; a zero-shot classification has one, "label". seen, gates: of a fusion network, the
    columns that it is said from, and how much each counted."""

    index: int
    answers: dict[str, Any]
    scores: dict[str, dict[str, float]]
    seen: list[str] | None = None
    gates: dict[str, float] | None = None


class ClassifyAnswer(BaseModel):
    object: Literal["list"] = "list"
    model: str
    data: list[Classified]


class TranscriptionAnswer(BaseModel):
    text: str
    usage: dict[str, Any] | None = None


# ---- search, index -----------------------------------------------------------------------------------------------


class Found(BaseModel):
    """score: cosine to the query. thumbnail: where its picture is, on this server."""

    id: str
    score: float
    modality: str
    caption: str
    fields: dict[str, Any]
    thumbnail: str | None = None


class SearchAnswer(BaseModel):
    object: Literal["list"] = "list"
    index: str
    data: list[Found]


class JobAnswer(BaseModel):
    """An addition. state: running, done or failed; done: of total rows; reasons: by id, why a row is bad."""

    id: str
    object: Literal["index.job"] = "index.job"
    index: str
    state: Literal["running", "done", "failed"]
    done: int
    total: int
    added: int | None = None
    known: int | None = None
    bad: int | None = None
    reasons: dict[str, str] | None = None
    error: str | None = None


class DeletedAnswer(BaseModel):
    object: Literal["index.deleted"] = "index.deleted"
    index: str
    deleted: int


class IndexAnswer(BaseModel):
    """An index. rows: how many; columns: what `where` may name; model: that embeds for it."""

    id: str
    object: Literal["index"] = "index"
    model: str
    rows: int
    modalities: dict[str, int]
    columns: list[str]
    width: int
    approximate: dict[str, Any] | None = None


class IndexList(BaseModel):
    object: Literal["list"] = "list"
    data: list[IndexAnswer]
