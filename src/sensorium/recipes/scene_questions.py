"""Stage 2 of the laptop's LLaVA: the language model learns to answer from the words that it finds in the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sensorium import speed
from sensorium.data.conversation import Renderer
from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.jitter import Jitter
from sensorium.data.scenes import Question, Scenes, as_conversations, both_orders, describe, names_only
from sensorium.data.tokens import TokenBatch
from sensorium.evaluation.answers import ExactMatch
from sensorium.evaluation.blind import Answer, Blind, beside_blind
from sensorium.evaluation.generated import GeneratedScore
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.models.teacher_forcing import forced_answers
from sensorium.objectives.next_token import NextToken
from sensorium.recipes.scene_names import ENDLESS
from sensorium.systems.smol_llava import smol_llava
from sensorium.training.checkpoint import load_weights
from sensorium.training.run import Run

SEEN = 500  # training scenes whose commonest answers are the majority baseline
SPATIAL = ("left_of", "above", "biggest")
Conversation = Sequence[Mapping[str, Any]]


def scene_questions(
    start: Path,
    folder: Path = Path("runs/scene_questions"),
    steps: int = 600,
    batch_size: int = 16,
    lr: float = 5e-4,
    pairs: int = 2,
    seed: int = 0,
    scenes: int = 200,
    shuffles: int = 1,
    splits: tuple[str, ...] = ("unseen_artist", "new_scenes"),
    progress: bool = True,
) -> Run:
    """Answer questions about composed scenes: the connector and LoRA, the picture encoder's top a little.

    Command: sensorium train scene_questions --start runs/scene_names
    Hardware and time: CPU; about six seconds of one core a step of 16 pictures and some 130 conversations.
    Expected: after 610 steps, by an unseen artist: ground 100 %, is the X above the Y 92, is there a X 92, is the X
    left of the Y 87, how many things 82, left of 76, above 68, how many X 68, biggest 66, name 65. See docs/answers.md.

    Args:
        start: A checkpoint of the same system to begin with: of stage 1, or of this one.
        folder: Where the run is written.
        steps: Optimiser steps.
        batch_size: Pictures a step; each comes with all its questions.
        lr: Peak learning rate of LoRA; the connector takes a half of it, the encoder's top a tenth.
        pairs: Of things in each training scene that are asked after in both orders, beside the other questions.
        seed: Of the scenes and their light.
        scenes: How many scenes each test has.
        shuffles: How often each test is repeated with the pictures of other scenes.
        splits: Which splits of the scenes are tested.
        progress: Show the preflight and a progress bar.
    """
    torch.manual_seed(seed)
    model = smol_llava()
    load_weights(start, model)
    tests = {split: SceneTest.of(split, scenes, shuffles) for split in splits}
    answering = collator(model)

    def evaluate(trained: torch.nn.Module) -> dict[str, GeneratedScore]:
        assert isinstance(trained, MultimodalLM)
        found = {}
        for split, test in tests.items():
            for name, score in test.scores(trained, answering).items():
                found[f"scenes.{split}.{name}"] = score
        return found

    return Run(
        name="scene_questions",
        folder=folder,
        system="smol_llava",
        model=model,
        data=range(ENDLESS),
        collate=SceneCollator(Scenes("train", seed=1 + seed), collator(model, Jitter()), pairs=pairs),
        objectives=[NextToken()],
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        part_lr={"projectors.*": lr / 2, "encoders.*": lr / 10},
        weight_decay=0.0,
        seed=seed,
        save_every=100,
        evaluate=evaluate,
        data_card="Scenes composed of emoji drawings by four artists (datasets/emoji, licences of the artists).",
        progress=progress,
    )


def collator(model: MultimodalLM, jitter: Jitter | None = None) -> ConversationCollator:
    """Conversations -> TokenBatch, for a model that sees pictures."""
    encoders: dict[str, Any] = dict(model.encoders.items())
    renderer = Renderer(model.backbone.tokenizer, model.lengths(), model.template)
    return ConversationCollator(renderer, encoders, augment={"image": jitter} if jitter else None)


@dataclass(frozen=True)
class SceneCollator:
    """Numbers of scenes -> TokenBatch: every question about each, and a line that describes it.

    pairs: of things left and right, and above and below each other, that are asked after in both orders as well
    """

    stream: Scenes
    collate: ConversationCollator
    pairs: int = field(default=0, kw_only=True)

    def conversations(self, item: int) -> list[tuple[str, Conversation]]:
        """The (id, messages) about one scene."""
        scene = self.stream.scene(int(item))
        asked = [*self.stream.questions(scene), *both_orders(scene, self.pairs), describe(scene)]
        return [
            (f"{scene.id} {question.kind}", messages)
            for question, messages in zip(
                asked, as_conversations(asked, {"image": self.stream.picture(scene)})
            )
        ]

    def __call__(self, items: Sequence[int]) -> TokenBatch:
        return self.collate([messages for item in items for _, messages in self.conversations(item)])


@dataclass(frozen=True)
class QuestionTest:
    """Questions about some scenes of a split.

    questions, conversations, groups: one entry a question; groups: which scene it is about
    seen:     questions about training scenes, whose commonest answers are a baseline
    shuffles: how often it is repeated with the media of other scenes
    """

    questions: list[Question]
    conversations: list[Conversation]
    groups: list[int]
    seen: list[Question]
    shuffles: int = 1

    @property
    def kinds(self) -> list[str]:
        return [question.kind for question in self.questions]

    @property
    def right(self) -> ExactMatch:
        return ExactMatch([question.answer for question in self.questions], self.kinds)

    def blind(self, answer: Answer) -> Blind:
        """What the model answers with the media withheld and shuffled, and the commonest answers."""
        blind = Blind.of(answer, self.conversations, media=self.groups, shuffles=self.shuffles)
        return blind.with_majority(
            self.kinds, [one.kind for one in self.seen], [one.answer for one in self.seen]
        )


class SceneTest(QuestionTest):
    """All questions about still scenes."""

    @classmethod
    def of(cls, split: str, scenes: int, shuffles: int) -> SceneTest:
        stream, train = Scenes(split), Scenes("train")
        questions: list[Question] = []
        conversations: list[Conversation] = []
        groups: list[int] = []
        for number in range(scenes):
            scene = stream.scene(number)
            asked = stream.questions(scene)
            questions += asked
            conversations += as_conversations(asked, {"image": stream.picture(scene)})
            groups += [number] * len(asked)
        seen = [question for i in range(SEEN) for question in train.questions(train.scene(i))]
        return cls(questions, conversations, groups, seen, shuffles)

    def scores(self, model: MultimodalLM, collate: ConversationCollator) -> dict[str, GeneratedScore]:
        def answer(conversations: Sequence[Conversation]) -> list[str]:
            return answers(model, collate, conversations)

        right, said, blind = self.right, answer(self.conversations), self.blind(answer)
        named = right(said).get("name.accuracy")
        if named is None:
            return beside_blind(right, said, blind, groups=self.groups)
        reference = {
            f"{kind}.accuracy": share * named.value
            for kind, share in names_only(self.questions).items()
            if kind in SPATIAL
        }
        return beside_blind(right, said, blind, reference, groups=self.groups)


def answers(
    model: MultimodalLM,
    collate: ConversationCollator,
    conversations: Sequence[Conversation],
    batch_size: int = 64,
) -> list[str]:
    """The model's answer to each conversation, whose right answer stands in it (`forced_answers`)."""
    dtype = speed.inference_dtype()
    said: list[str] = []
    for start in range(0, len(conversations), batch_size):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            said += forced_answers(model, collate(conversations[start : start + batch_size]))
    return said
