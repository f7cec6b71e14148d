"""The quickstart's second half: a small language model that sees is trained a little further, scored and asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from sensorium.data.scenes import Question, Scenes, as_conversations, describe
from sensorium.evaluation.answers import normalised
from sensorium.evaluation.blind import withheld
from sensorium.evaluation.generated import GeneratedScore
from sensorium.facade import Assistant
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.recipes.scene_questions import scene_questions
from sensorium.training.loop import fit
from sensorium.viewing.report import Asked, Example, Examples, Said, Shown
from sensorium.weights import shipped

SPLIT = "unseen_artist"
STEPS = 40  # about four minutes on two cores
LR = 1e-4
SCENES = 200
FIRST_SHOWN = 100_000  # scenes that are shown lie behind those that are scored
SHOWN = 6
ASKED = 3  # questions answered in the terminal
AT_RANDOM = (
    "Test scenes in the order of their numbers, every question about each; an artist never trained on."
)


@dataclass(frozen=True)
class Answered:
    """scores: as in metrics.json; examples: for the report; asked: (picture, question, answer, right answer)"""

    scores: dict[str, GeneratedScore]
    examples: Examples
    asked: list[tuple[Path, str, str, str]]
    checkpoint: Path


def train_and_ask(
    folder: Path,
    pictures: Path,
    seed: int = 0,
    fresh: bool = False,
    steps: int = STEPS,
    scenes: int = SCENES,
    start: Path | None = None,
) -> Answered:
    """Train `folder`'s run from the shipped connector (or `start`), score it and ask it about scenes it never saw.

    pictures: where the scenes that are asked about are written as PNG files
    """
    run = scene_questions(
        start or shipped("smol_llava"), folder, steps=steps, lr=LR, seed=seed, scenes=scenes, splits=(SPLIT,)
    )
    trained = fit(run, resume=not fresh)
    assert isinstance(trained.model, MultimodalLM)
    scores = {name: GeneratedScore(**entry) for name, entry in trained.scores.items()}
    with torch.no_grad():
        assistant = Assistant(trained.model, str(folder))
        return Answered(scores, examples(assistant), ask(assistant, pictures), trained.checkpoint)


def examples(assistant: Assistant) -> Examples:
    """A few scenes with every question, the model's answers and what it says without the picture."""
    stream = Scenes(SPLIT)
    shown = []
    for number in range(FIRST_SHOWN, FIRST_SHOWN + SHOWN):
        scene = stream.scene(number)
        picture = stream.picture(scene)
        questions = [*stream.questions(scene), describe(scene)]
        prompts = [messages[:1] for messages in as_conversations(questions, {"image": picture})]
        said = assistant.answers(prompts, max_tokens=24)
        blind = assistant.answers([withheld(prompt) for prompt in prompts], max_tokens=24)
        asked = [
            Asked(
                question.text, question.answer, marked(answer, question), {"blind": marked(guess, question)}
            )
            for question, answer, guess in zip(questions, said, blind, strict=True)
        ]
        shown.append(Example(Shown(picture=picture), asked))
    return Examples("Questions about scenes by an artist never seen", shown, AT_RANDOM)


def marked(answer: str, question: Question) -> Said:
    """An answer, and whether it counts as right; nobody counts captions."""
    if question.kind == "caption":
        return Said(answer)
    return Said(answer, normalised(answer) == normalised(question.answer))


def ask(assistant: Assistant, pictures: Path) -> list[tuple[Path, str, str, str]]:
    """One question each about a few test scenes, which are written as files first and read back as any user's."""
    stream = Scenes(SPLIT)
    pictures.mkdir(parents=True, exist_ok=True)
    found = []
    for place in range(ASKED):
        scene = stream.scene(FIRST_SHOWN + SHOWN + place)
        path = pictures / f"scene-{place + 1}.png"
        Image.fromarray(stream.picture(scene)).save(path)
        question = _of_most_interest(stream.questions(scene))
        found.append((path, question.text, assistant.ask(question.text, image=path), question.answer))
    return found


def _of_most_interest(questions: Sequence[Question]) -> Question:
    kinds = ("left_of", "above", "name", "biggest", "how_many_x", "there")
    return next(question for kind in kinds for question in questions if question.kind == kind)
