"""PaLM-E on composed scenes: what a sensor measures beside a picture, answers and plans that need both."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.jitter import Jitter
from sensorium.data.scenes import Question, Scenes, as_conversations, names_only, path, plans, state
from sensorium.evaluation.blind import beside_blind, deranged, media_parts, withheld
from sensorium.evaluation.generated import Baselines, GeneratedScore, score_of
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.objectives.next_token import NextToken
from sensorium.recipes.palm_e_states import learn_places
from sensorium.recipes.scene_names import ENDLESS
from sensorium.recipes.scene_questions import SEEN, QuestionTest, SceneCollator, answers, collator
from sensorium.systems.palm_e import palm_e as system
from sensorium.training import checkpoint
from sensorium.training.run import Run

KINDS = ("clear_path", "left_of", "above", "is_left")  # that are trained and tested
MEDIA = ("image", "state")
Conversation = Sequence[Mapping[str, Any]]


def palm_e(
    start: Path,
    folder: Path = Path("runs/palm_e"),
    steps: int = 250,
    batch_size: int = 8,
    lr: float = 5e-4,
    lora: int = 8,
    tasks: int = 4,
    withhold: float = 0.1,
    state_steps: int = 400,
    seed: int = 0,
    scenes: int = 100,
    splits: tuple[str, ...] = ("unseen_artist",),
    progress: bool = True,
) -> Run:
    """Answers and plans from a picture and a state: "Which thing do I move to clear the path?"

    The state says where things, robot and goal are, and not what they are; the picture shows the things, and neither
    robot nor goal. Training withholds one of them now and then, so that the model without it is a fair baseline.

    Paper: Driess et al. 2023, arXiv:2303.03378
    Command: sensorium train palm_e --start runs/scene_questions
    Hardware and time: CPU; about five seconds of one core a step of eight scenes, and two minutes for the state's
    first lessons.
    Expected: after 250 steps from weights/smol_llava, on 100 scenes of the unseen artist, clear_path 51.0 % (41 to 60)
    with both, 25.0 % (17 to 34) without the state, 29.0 % with another scene's state, 0 % without the picture: it takes
    both. left_of 77.9 %, above 74.3 % and is_left 84.7 % are the picture's; docs/answers.md has all of it. The first
    lessons alone name the cell of the thing in the way in 83 % of random states after 400 steps.

    Args:
        start: A checkpoint of `smol_llava`, of either stage: its picture tokens, and LoRA, are taken over.
        folder: Where the run is written; the state's first lessons go to states/ in it.
        steps: Optimiser steps.
        batch_size: Scenes a step, each with all its questions.
        lr: Peak learning rate of LoRA; the connectors take a half of it. The picture encoder stays as it is.
        lora: Rank of LoRA, as in `start`; 0 freezes the language model.
        tasks: Paths that are laid over each training scene, each with its own state and plan.
        withhold: Share of the training scenes without state, and share without picture.
        state_steps: Steps in which the state encoder first learns places, without the language model.
        seed: Of the weights' start, the scenes and their light.
        scenes: How many scenes with a path each test has.
        splits: Which splits of the scenes are tested.
        progress: Show the preflight and a progress bar.
    """
    torch.manual_seed(seed)
    args = {"side": 7, "state_width": 128, "mixing": 2, "lora": lora}
    model = system(**args)  # type: ignore[arg-type]
    take_over(start, model)
    if not checkpoint.finished(Path(folder) / "checkpoints"):
        learn_places(model, args, Path(folder) / "states", state_steps, seed, progress)
        take_over(start, model)  # lessons learned earlier, from another start, bring all of that model
    tests = {split: StateTest.of(split, scenes) for split in splits}
    answering = collator(model)

    def evaluate(trained: torch.nn.Module) -> dict[str, GeneratedScore]:
        assert isinstance(trained, MultimodalLM)
        found = {}
        for split, test in tests.items():
            for name, score in test.scores(trained, answering).items():
                found[f"palm_e.{split}.{name}"] = score
        return found

    return Run(
        name="palm_e",
        folder=folder,
        system="palm_e",
        system_args=args,
        model=model,
        data=range(ENDLESS),
        collate=StateCollator(Scenes("train", seed=2 + seed), collator(model, Jitter()), tasks, withhold),
        objectives=[NextToken()],
        freeze=["encoders.image", "projectors.object"],
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        part_lr={"projectors.*": lr / 2, "encoders.*": lr / 2},
        weight_decay=0.0,
        seed=seed,
        save_every=50,
        evaluate=evaluate,
        data_card="Scenes composed of emoji drawings by four artists (datasets/emoji, licences of the artists).",
        progress=progress,
    )


def take_over(start: Path, model: MultimodalLM) -> None:
    """Copy what a checkpoint of `smol_llava` trained: picture encoder, its connector, LoRA.

    The picture encoder is then no longer the published one, and a checkpoint of this model will hold it whole.
    Raises CheckpointError for a checkpoint with tensors that the model lacks or has in another shape.
    """
    file = checkpoint.find(start) / "model.safetensors"
    weights = checkpoint.read_tensors(file)
    checkpoint.put(weights, model, file)
    model.encoders["image"].source = None  # type: ignore[assignment]


@dataclass(frozen=True)
class StateCollator(SceneCollator):
    """Numbers of scenes -> TokenBatch: questions about each, and several plans.

    tasks, withhold: as in the recipe
    """

    tasks: int
    withhold: float

    def conversations(self, item: int) -> list[tuple[str, Conversation]]:
        """The (id, messages) about one scene. One in four scenes has a path at first draw: ask the next ones too."""
        numbers = range(4 * int(item), 4 * int(item) + 4)
        scene = next(
            (s for s in map(self.stream.scene, numbers) if path(s)), self.stream.scene(4 * int(item))
        )
        picture, chance = self.stream.picture(scene), random.Random(f"withheld/{scene.id}").random()
        gone = "state" if chance < self.withhold else "image" if chance > 1 - self.withhold else None
        told: list[tuple[str, Conversation]] = []
        for number in range(self.tasks):
            task = replace(scene, id=f"{scene.id}/task{number}") if number else scene
            asked = plans(task)
            if not number:
                asked += [one for one in self.stream.questions(scene) if one.kind in KINDS]
            media = {"image": picture, "state": state(task)}
            shown = {name: medium for name, medium in media.items() if name != gone}
            told += [
                (f"{task.id} {one.kind}", messages)
                for one, messages in zip(asked, as_conversations(asked, shown))
            ]
        return told


class StateTest(QuestionTest):
    """Questions of `KINDS` about scenes with a path."""

    @classmethod
    def of(cls, split: str, scenes: int) -> StateTest:
        stream, train = Scenes(split), Scenes("train")
        questions: list[Question] = []
        conversations: list[Conversation] = []
        groups: list[int] = []
        number = 0
        while len(set(groups)) < scenes:
            scene, number = stream.scene(number), number + 1
            if path(scene) is None:
                continue
            asked = [one for one in [*plans(scene), *stream.questions(scene)] if one.kind in KINDS]
            questions += asked
            conversations += as_conversations(asked, {"image": stream.picture(scene), "state": state(scene)})
            groups += [number] * len(asked)
        known = [train.scene(i) for i in range(SEEN)]
        seen = [
            one for scene in known for one in [*plans(scene), *train.questions(scene)] if one.kind in KINDS
        ]
        return cls(questions, conversations, groups, seen)

    def scores(self, model: MultimodalLM, collate: ConversationCollator) -> dict[str, GeneratedScore]:
        """ "<kind>.accuracy" with everything shown, beside its baselines; then of the same model without the state
        ("without_state.<kind>.accuracy"), without the image, and with either of another scene ("shuffled_state" …).
        """

        def answer(conversations: Sequence[Conversation]) -> list[str]:
            return answers(model, collate, conversations)

        right, said, blind = self.right, answer(self.conversations), self.blind(answer)
        found = beside_blind(right, said, blind, names_only_of(self.questions), self.groups)
        assert blind.withheld is not None
        nothing = right(blind.withheld)
        order = deranged(self.groups, seed=1)
        others = [self.conversations[other] for other in order]
        for modality in MEDIA:
            variants = {
                f"without_{modality}": [withheld(one, [modality]) for one in self.conversations],
                f"shuffled_{modality}": [
                    exchanged(one, other, modality) for one, other in zip(self.conversations, others)
                ],
            }
            for variant, conversations in variants.items():
                for name, measured in right(answer(conversations)).items():
                    found[f"{variant}.{name}"] = score_of(measured, Baselines(nothing[name]), self.groups)
        return found


def names_only_of(questions: Sequence[Question]) -> dict[str, float]:
    """{"<kind>.accuracy": share right of a perfect namer who guesses the place}, where names help."""
    return {f"{kind}.accuracy": share for kind, share in names_only(questions).items()}


def exchanged(conversation: Conversation, other: Conversation, modality: str) -> list[dict[str, Any]]:
    """The conversation with the other's media of one modality."""
    (offered,) = (part for part in media_parts(other) if part["type"] == modality)
    return [
        {
            **message,
            "content": message["content"]
            if isinstance(message["content"], str)
            else [offered if part["type"] == modality else part for part in message["content"]],
        }
        for message in conversation
    ]
