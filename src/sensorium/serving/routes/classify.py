"""POST /v1/classify: which of the caller's labels fit (joint embedding), or a fusion network's answers to its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request

from sensorium.facade import Prediction
from sensorium.media import Source
from sensorium.serving.answers import Classified, ClassifyAnswer
from sensorium.serving.served import ServedPredictor, ServedSpace
from sensorium.serving.service import COMPUTED, Here, Service
from sensorium.serving.settings import Settings
from sensorium.serving.things import invalid, listed, of_modality, things_of
from sensorium.serving.waiting import answered, together
from sensorium.serving.wire import ClassifyRequest

router = APIRouter(tags=["classify"])
LABEL = "label"  # the task of a zero-shot classification


@router.post("/v1/classify", responses=COMPUTED, response_model_exclude_none=True)
async def classify(request: Request, asked: ClassifyRequest, here: Here) -> ClassifyAnswer:
    """With `labels`: how probable each is for each thing, by a joint embedding, from the labels' words alone.

    Without: what a fusion network says of each row, {"column": words or data URI}; its columns are in /v1/models.
    """
    asked.known()
    model, settings = _model(asked, here), here.settings
    work = (
        _by_words(model, asked, settings)
        if isinstance(model, ServedSpace)
        else _by_tasks(model, asked, settings)
    )
    found = await answered(request, work, settings.seconds)
    return ClassifyAnswer(model=model.name, data=found)


def _model(asked: ClassifyRequest, here: Service) -> ServedSpace | ServedPredictor:
    named = here.served.models.get(asked.model or "")
    spaces = isinstance(named, ServedSpace) or (named is None and asked.labels is not None)
    if not spaces:
        if asked.labels is not None or asked.templates is not None:
            raise invalid(
                "labels",
                "a fusion network has labels of its own; name a joint embedding, or leave labels out",
            )
        if asked.model is None and not _kinds(here, ServedPredictor) and _kinds(here, ServedSpace):
            raise invalid("labels", "expected some: the joint embedding served here chooses among yours")
        return here.predictor(asked.model)
    if asked.labels is None:
        raise invalid(
            "labels", f"expected some: {asked.model} is a joint embedding, which chooses among yours"
        )
    return here.space(asked.model)


def _kinds(here: Service, kind: type) -> bool:
    return any(isinstance(model, kind) for model in here.served.models.values())


async def _by_words(model: ServedSpace, asked: ClassifyRequest, settings: Settings) -> list[Classified]:
    labels, templates = asked.labels or [], asked.templates or ["{}"]
    if not labels or len(labels) * len(templates) > settings.labels:
        raise invalid(
            "labels",
            f"got {len(labels)} labels in {len(templates)} templates; expected 1 to {settings.labels} of them",
        )
    if len(set(labels)) < len(labels) or not all(labels):
        raise invalid("labels", "expected words, each label once")
    if any("{}" not in template for template in templates):
        raise invalid("templates", "expected {} in each of them, where the label goes")
    # Of all prompts together: a template may name its label many times.
    blanks = sum(template.count("{}") for template in templates)
    if len(labels) * sum(map(len, templates)) + blanks * sum(map(len, labels)) > settings.text:
        raise invalid("labels", f"got labels that make prompts of more than {settings.text:,} characters")
    things = await things_of(asked.input, settings)
    places = {
        modality: [n for n, (kind, _) in enumerate(things) if kind == modality] for modality, _ in things
    }
    found = await together(
        model.classify(modality, [things[n][1] for n in wanted], labels, templates, seconds=settings.seconds)
        for modality, wanted in places.items()
    )
    rows: dict[int, Sequence[float]] = {}
    for wanted, probabilities in zip(places.values(), found, strict=True):
        rows |= dict(zip(wanted, probabilities.tolist(), strict=True))
    return [_zero_shot(n, dict(zip(labels, rows[n], strict=True))) for n in range(len(things))]


def _zero_shot(n: int, scores: dict[str, float]) -> Classified:
    best = max(scores, key=lambda label: scores[label])
    return Classified(index=n, answers={LABEL: best}, scores={LABEL: scores})


async def _by_tasks(model: ServedPredictor, asked: ClassifyRequest, settings: Settings) -> list[Classified]:
    rows = [
        await _row(model, given, settings, f"input[{n}]")
        for n, given in enumerate(listed(asked.input, settings))
    ]
    found = await model.predict(rows, seconds=settings.seconds)
    return [_said(n, prediction) for n, prediction in enumerate(found)]


async def _row(model: ServedPredictor, given: Any, settings: Settings, where: str) -> dict[str, Source | str]:
    """One row; bare words are those of the only column of text."""
    if isinstance(given, str):
        texts = [column for column, modality in model.columns.items() if modality == "text"]
        if len(texts) != 1:
            raise invalid(where, f"got a string; expected an object with some of {_reads(model)}")
        given = {texts[0]: given}
    if not isinstance(given, Mapping) or not given:
        raise invalid(where, f"expected an object with some of {_reads(model)}")
    if unknown := [name for name in given if name not in model.columns]:
        raise invalid(where, f"got {', '.join(map(str, unknown))[:200]}; {model.name} reads {_reads(model)}")
    return {
        name: await of_modality(model.columns[name], content, settings, f"{where}.{name}")
        for name, content in given.items()
        if content is not None
    }


def _reads(model: ServedPredictor) -> str:
    return ", ".join(f"{name} ({modality})" for name, modality in model.columns.items())


def _said(n: int, prediction: Prediction) -> Classified:
    return Classified(
        index=n,
        answers=dict(prediction.answers),
        scores={task: dict(each) for task, each in prediction.probabilities.items()},
        seen=list(prediction.seen),
        gates=None if prediction.gates is None else dict(prediction.gates),
    )
