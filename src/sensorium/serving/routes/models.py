"""GET /v1/models, GET /v1/models/{id}: what is served."""

from __future__ import annotations

from fastapi import APIRouter

from sensorium.serving.answers import ModelCard, ModelList
from sensorium.serving.errors import ApiError
from sensorium.serving.served import ServedAssistant, ServedModel, ServedPredictor, ServedSpace
from sensorium.serving.service import Here, errors
from sensorium.tasks import AnyOf, OneOf

router = APIRouter(tags=["models"])


@router.get("/v1/models", responses=errors(), response_model_exclude_none=True)
async def list_models(here: Here) -> ModelList:
    """All models, by the names that requests call them by."""
    return ModelList(data=[_card(model, here.since) for model in here.served.models.values()])


@router.get("/v1/models/{model}", responses=errors(), response_model_exclude_none=True)
async def one_model(model: str, here: Here) -> ModelCard:
    """One model."""
    if model not in here.served.models:
        there = ", ".join(here.served.models)
        raise ApiError(
            404, f"no model {model[:100]!r}; there is {there}", param="model", code="model_not_found"
        )
    return _card(here.served.models[model], here.since)


def _card(model: ServedModel, since: int) -> ModelCard:
    card = ModelCard(id=model.name, created=since, task=model.task, modalities=list(model.modalities))
    if isinstance(model, ServedAssistant):
        card.prompts = dict(model.assistant.prompts)
    if isinstance(model, ServedSpace):
        card.width = model.width
    if isinstance(model, ServedPredictor):
        card.columns = dict(model.columns)
        card.tasks = {
            task.name: list(task.labels) if isinstance(task, OneOf | AnyOf) else None for task in model.tasks
        }
    return card
