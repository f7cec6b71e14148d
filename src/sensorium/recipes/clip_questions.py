"""A small language model that watches: questions about moving scenes, answered from a video encoder's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.scenes import Question, as_conversations, shuffled
from sensorium.data.tokens import TokenBatch
from sensorium.evaluation.blind import Blind, beside_blind, deranged
from sensorium.evaluation.generated import GeneratedScore
from sensorium.facade import Assistant
from sensorium.media import Video
from sensorium.media.writing import write_video
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.models.masked_video import MaskedVideo
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.objectives.next_token import NextToken
from sensorium.recipes.clip_captions import CaptionSlots
from sensorium.recipes.scene_questions import QuestionTest, answers, collator
from sensorium.recipes.videoprism_clips import ENDLESS, Clip, Clips
from sensorium.systems import system_builder
from sensorium.systems.smol_watcher import PROMPTS, smol_watcher
from sensorium.training.checkpoint import find, load_model, put, read, read_tensors
from sensorium.training.run import Run

THIRD_SEED = 200  # of this run's stream of clips, plus the run's seed
KNOWN = 200  # training clips whose commonest answers are the majority baseline
WORDS = 24  # tokens of a description, at most
EXAMPLES = 4  # clips of the unseen artist that are written beside the run, to ask about
Conversation = Sequence[Mapping[str, Any]]


def clip_questions(
    start: Path = Path("runs/videoprism"),
    language: Path | None = None,
    folder: Path = Path("runs/clip_questions"),
    steps: int = 90,
    batch_size: int = 4,
    lr: float = 5e-4,
    projector_lr: float = 1e-3,
    rank: int = 8,
    seed: int = 0,
    tested: int = 100,
    captioned: int = 40,
    progress: bool = True,
) -> Run:
    """Answer questions about clips: which way, what moves, what colour, how many; and describe them.

    Every clip of a step is there backwards, too, with the same questions: what moved left moves right.

    Command: sensorium train videoprism, then sensorium train clip_questions --language weights/smol_llava
    Hardware and time: CPU, some two seconds of one core a step of 4 clips.
    Expected, as measured after 90 steps on 80 clips by an unseen artist: direction 100 % (91.2 … 100), frames in random
    order 48.8, withheld 26.2; ground 100 %; which thing moves 2.5 %: it learned no names. See docs/video.md.

    Args:
        start: Run of `sensorium train videoprism` or `masked_videoprism`, whose video encoder is taken and frozen.
        language: A checkpoint of `smol_llava` whose LoRA is taken over; it has answered questions about pictures.
        folder: Where the run is written, and examples to ask about.
        steps: Optimiser steps.
        batch_size: Clips a step, each of them backwards, too, and each with all its questions.
        lr: Peak learning rate of LoRA.
        projector_lr: That of the connector.
        rank: Of LoRA; as in `language`.
        seed: Of the connector's random weights and the clips.
        tested: Clips by an unseen artist that are tested on.
        captioned: So many of these the trained model describes, word by word; 0, or 4 and more.
        progress: Show the preflight and a progress bar.
    """
    torch.manual_seed(seed)
    args: dict[str, Any] = {"size": tower_size(start), "rank": rank}
    model = smol_watcher(**args)
    encoder: Any = model.encoders["video"]
    encoder.load_state_dict(tower(start).state_dict())
    if language is not None:
        take_over_language(language, model)
    clips = Clips(seed=THIRD_SEED + seed, size=encoder.config["image_size"], frames=encoder.frames)
    test, reading = ClipTest(clips.size, clips.frames, tested), collator(model)

    def evaluate(trained: torch.nn.Module) -> dict[str, GeneratedScore]:
        assert isinstance(trained, MultimodalLM)
        test.write_examples(Path(folder) / "examples")
        found = test.scores(trained, reading)
        return found | test.captions(trained, captioned) if captioned else found

    return Run(
        name="clip_questions",
        folder=folder,
        system="smol_watcher",
        system_args=args,
        model=model,
        data=range(ENDLESS),
        collate=QuestionCollator(clips, reading),
        objectives=[NextToken()],
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        part_lr={"projectors.*": projector_lr},
        weight_decay=0.0,
        seed=seed,
        save_every=50,
        evaluate=evaluate,
        data_card="Moving scenes composed of emoji drawings by four artists (datasets/emoji, licences of the artists).",
        progress=progress,
    )


def tower(start: Path) -> Any:
    """The video encoder of a run of stage 1, or the student of stage 2. Raises ValueError for another run."""
    model = load_model(start, system_builder)
    if isinstance(model, MaskedVideo):
        return model.student
    if isinstance(model, JointEmbedding) and read(start).system == "videoprism":
        return model.encoders["video"]
    raise ValueError(
        f"start={start}: got a {read(start).system}; expected a run of `sensorium train videoprism` or of "
        "`sensorium train masked_videoprism`"
    )


def tower_size(start: Path) -> str:
    """Under which name `videoprism.SIZES` has it."""
    return str(read(start).args.get("size", "base"))


def take_over_language(source: Path, model: MultimodalLM) -> None:
    """Copy the LoRA of a checkpoint of `smol_llava`. Raises CheckpointError where it does not fit the model's."""
    file = find(source) / "model.safetensors"
    learned = {name: one for name, one in read_tensors(file).items() if name.startswith("backbone.")}
    put(learned, model, file)


def questions_of(clip: Clip) -> list[Question]:
    """Every question about a clip that has one right answer, and "Describe the clip."."""
    return [*clip.questions, Question("caption", PROMPTS["caption"], clip.caption)]


@dataclass(frozen=True)
class QuestionCollator:
    """Numbers of clips -> TokenBatch: every question about each clip, and about each backwards."""

    clips: Clips
    collate: ConversationCollator

    def conversations(self, item: int) -> list[tuple[str, Conversation]]:
        """The (id, messages) about one clip and about the same backwards."""
        clip = self.clips.clip(int(item))
        told: list[tuple[str, Conversation]] = []
        for one in (clip, clip.backwards()):
            asked = questions_of(one)
            shown = as_conversations(asked, {"video": one.video})
            told += [
                (f"{one.scene.id} {question.kind}", messages) for question, messages in zip(asked, shown)
            ]
        return told

    def __call__(self, items: Sequence[int]) -> TokenBatch:
        return self.collate([messages for item in items for _, messages in self.conversations(item)])


@dataclass(frozen=True)
class ClipTest:
    """Questions about clips by an unseen artist, half of them the other half backwards.

    size, frames: of the clips; tested: how many
    """

    size: int
    frames: int
    tested: int

    @cached_property
    def clips(self) -> list[Clip]:
        return Clips("unseen_artist", 0, self.size, self.frames).both_ways(self.tested)

    @cached_property
    def asked(self) -> QuestionTest:
        """All questions, in the order of the clips."""
        asked = [questions_of(clip) for clip in self.clips]
        known = Clips("train", THIRD_SEED, self.size, self.frames)
        return QuestionTest(
            [one for questions in asked for one in questions],
            [
                messages
                for clip, questions in zip(self.clips, asked)
                for messages in as_conversations(questions, {"video": clip.video})
            ],
            [number for number, questions in enumerate(asked) for _ in questions],
            [one for clip in known.both_ways(KNOWN) for one in questions_of(clip)],
        )

    def scores(self, model: MultimodalLM, collate: ConversationCollator) -> dict[str, GeneratedScore]:
        """ "<kind>.accuracy" beside the clip withheld, another's and the majority; "in_random_order.<kind>.accuracy":
        the same questions about clips whose frames stand in random order. A clip and the same clip backwards are drawn
        together for the intervals.
        """

        def answer(conversations: Sequence[Conversation]) -> list[str]:
            return answers(model, collate, conversations)

        test, pairs = self.asked, len(self.clips) // 2
        together = [group % pairs for group in test.groups]
        blind = test.blind(answer)
        found = beside_blind(test.right, answer(test.conversations), blind, groups=together)
        mixed = beside_blind(test.right, answer(self.mixed), blind, groups=together)
        return found | {f"in_random_order.{name}": score for name, score in mixed.items()}

    @property
    def mixed(self) -> list[Conversation]:
        """The conversations, every clip with its frames in random order."""
        of_clip: list[Video] = [shuffled(clip.video, clip.scene.id) for clip in self.clips]
        return [
            as_conversations([question], {"video": of_clip[number]})[0]
            for question, number in zip(self.asked.questions, self.asked.groups)
        ]

    def captions(self, model: MultimodalLM, most: int) -> dict[str, GeneratedScore]:
        """What the model writes about the first clips, word for word: "written_caption.accuracy" of whole sentences,
        "written_caption.direction.accuracy" … of their slots, beside what it writes about another clip.
        """
        half = len(self.clips) // 2
        clips = [*self.clips[: most // 2], *self.clips[half : half + most // 2]]
        assistant, slots = Assistant(model), CaptionSlots([clip.caption for clip in clips])
        pairs = [number % (len(clips) // 2) for number in range(len(clips))]

        def written(videos: Sequence[Video]) -> list[str]:
            return [str(assistant.ask(PROMPTS["caption"], video=video, max_tokens=WORDS)) for video in videos]

        found: dict[str, GeneratedScore] = {}
        for prefix, videos in (
            ("", [clip.video for clip in clips]),
            ("in_random_order.", [shuffled(clip.video, clip.scene.id) for clip in clips]),
        ):
            said = written(videos)
            blind = Blind(shuffled=[[said[other] for other in deranged(pairs)]])
            scores = beside_blind(slots, said, blind, groups=pairs)
            found |= {f"{prefix}written_{name}": score for name, score in scores.items()}
        return found

    def write_examples(self, folder: Path) -> None:
        """The first clips, there and back, as clip-0.mp4 …, each with its sentence in a file beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        half = len(self.clips) // 2
        for number in range(min(EXAMPLES, half)):
            for name, clip in (("", self.clips[number]), ("-back", self.clips[half + number])):
                write_video(clip.video, folder / f"clip-{number}{name}.mp4")
                (folder / f"clip-{number}{name}.txt").write_text(clip.caption + "\n", encoding="utf-8")
