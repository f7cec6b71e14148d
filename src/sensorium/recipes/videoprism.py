"""VideoPrism's two stages on moving scenes: which sentence tells of this clip, then what a part tells of the whole."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from sensorium.encoders.text import MINILM
from sensorium.evaluation.generated import GeneratedScore
from sensorium.evaluation.scores import Score
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.models.masked_video import MaskedVideo
from sensorium.objectives.distillation import GlobalLocalDistillation
from sensorium.objectives.info_nce import InfoNCE
from sensorium.recipes.videoprism_clips import ENDLESS, ClipCollator, Clips, Lessons, in_turn
from sensorium.recipes.videoprism_tests import VideoTests
from sensorium.systems import system_builder
from sensorium.systems.two_towers import size_of
from sensorium.systems.videoprism import SIZES, frame_clip, stage_two
from sensorium.systems.videoprism import videoprism as system
from sensorium.training.checkpoint import load_model, read
from sensorium.training.run import Run

SECOND_SEED = 100  # of stage 2's stream of clips, plus the run's seed


def videoprism(
    folder: Path = Path("runs/videoprism"),
    size: str = "tiny",
    steps: int = 2000,
    batch_size: int = 16,
    lr: float = 1e-3,
    stills: int = 200,
    crossing: int = 400,
    brief: int = 1200,
    seed: int = 0,
    tokenizer: str = MINILM,
    peer: bool = False,
    probed: int = 400,
    tested: int = 200,
    progress: bool = True,
) -> Run:
    """Clips and sentences in one space, both towers from random weights (Zhao et al. 2024, arXiv:2402.13217).

    From random weights a clip and the same clip backwards lie a hundred times closer together than two clips do, and a
    contrast over whole sentences found no motion in 500 steps. So there are first lessons (`Lessons`), all of them
    clips and sentences under the same loss: where one large thing is ("it is left"), which way it crosses the picture
    ("it moves left"), which way one of several things moves, and only then whole sentences.

    Command: sensorium train videoprism
    Hardware and time: CPU, six minutes of one core for the 2,000 steps and the scores.
    Expected, as measured, in percent, with the 95 % interval, seed 0, on drawings by an unseen artist, 200 clips:

        direction, linear probe  99.5  (98.5 … 100)   untrained 28.0, frames in random order 42.0, majority 21.0
        text to video   R@1  13.0  (8.5 … 17.5)   R@10  96.0  (92.5 … 99.0)   frames in random order 47.5, blind 5.0
        video to text   R@1  13.8  (8.5 … 19.6)   R@10  97.5  (94.0 …  100)   frames in random order 46.0, blind 5.1
        caption, the nearest of 3,600 sentences: direction 100  (96.4 … 100), frames in random order 47.5, blind 27.5;
        ground 100, blind 16.5; thing 0.0: at 64 pixels, by an unseen artist, it knows what moves by no name

    The peer (`--peer`), the same clips, lessons and steps: direction 24.0 (19.0 … 29.0), text to video R@10 29.5
    (21.0 … 38.0).

    Args:
        folder: Where the run is written.
        size: Of the system, one of systems/videoprism.py; "tiny" is meant for a CPU.
        steps: Optimiser steps.
        batch_size: Clips a step; each is told apart from itself backwards, too, so that a step sees twice as many.
        lr: Peak learning rate.
        stills: Steps of first lessons, in which one large thing stands at an edge: "it is left".
        crossing: Steps after these in which it crosses the picture, and more and more often moves among others.
        brief: Steps in which sentences say nothing but the motion.
        seed: Of the random weights and the clips.
        tokenizer: Source of the tokenizer; its words get random vectors too.
        peer: Train the peer instead: pictures averaged over frames, as many blocks, the same clips and steps.
        probed: Clips that the probe of directions is fitted on.
        tested: Clips by an unseen artist that are tested on.
        progress: Show the preflight and progress bars.
    """
    torch.manual_seed(seed)
    build = frame_clip if peer else system
    model = build(size, tokenizer)
    sizes = size_of(SIZES, size)
    clips = Clips(seed=seed, size=sizes.pixels, frames=sizes.frames)
    lessons = Lessons(stills * batch_size, crossing * batch_size, brief * batch_size)
    tests = VideoTests(sizes.pixels, sizes.frames, probed, tested)

    def evaluate(trained: torch.nn.Module) -> dict[str, GeneratedScore | Score]:
        assert isinstance(trained, JointEmbedding)
        torch.manual_seed(seed)
        return tests.scores(trained, untrained=build(size, tokenizer).encoders["video"])

    return Run(
        name="videoprism",
        folder=folder,
        system="frame_clip" if peer else "videoprism",
        system_args={"size": size, "tokenizer": tokenizer},
        model=model,
        data=range(ENDLESS),
        order=in_turn,
        collate=ClipCollator(model.by_column, clips, lessons),
        objectives=[InfoNCE()],
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        weight_decay=0.05,
        warmup=0.05,
        seed=seed,
        save_every=50,
        evaluate=evaluate,
        data_card=DATA_CARD,
        progress=progress,
    )


def masked_videoprism(
    folder: Path = Path("runs/masked_videoprism"),
    start: Path = Path("runs/videoprism"),
    steps: int = 200,
    batch_size: int = 16,
    lr: float = 3e-4,
    share: float = 0.65,
    shuffled: bool = True,
    seed: int = 0,
    probed: int = 400,
    tested: int = 200,
    progress: bool = True,
) -> Run:
    """Stage 2 from a finished stage 1: a part of a clip, shuffled, tells what the whole is to its teacher (§3.3).

    Command: sensorium train videoprism, then sensorium train masked_videoprism
    Hardware and time: CPU, 50 seconds of one core's time for the 200 steps and the scores, after stage 1.
    Expected, as measured, in percent, with the 95 % interval, seed 0, after the stage 1 that the defaults of
    `videoprism` give:

        direction, linear probe  98.0  (95.5 …  100)   after stage 1 99.5, frames in random order 35.5, majority 21.0
        text to video   R@1  12.5  (8.0 … 18.0)   R@10  94.5  (89.5 … 98.0)   frames in random order 46.2, blind 4.9
        video to text   R@1  14.6  (8.6 … 21.1)   R@10  93.0  (87.0 … 98.0)   frames in random order 44.0, blind 5.3
        caption, the nearest of 3,600 sentences: direction 98.5  (96.0 …  100), frames in random order 46.0

    The sum of the distances to the teacher falls from 1.23 to 0.46. The student keeps what stage 1 knew (gain of the
    probe -1.5, -4.5 … 0.5) and adds nothing that these tests show: what stage 1 does not know stage 2 cannot teach.

    Args:
        folder: Where the run is written.
        start: Run of `sensorium train videoprism`, whose video tower becomes teacher and student.
        steps: Optimiser steps.
        batch_size: Clips a step, each of them backwards, too.
        lr: Peak learning rate of the student; the decoder, which knows nothing yet, takes three times as much.
        share: Of the places of a clip that the student does not see.
        shuffled: Whether the decoder has to find out where the seen tokens belong.
        seed: Of the decoder's random weights, the clips and the places.
        probed: Clips that the probe of directions is fitted on.
        tested: Clips by an unseen artist that are tested on.
        progress: Show the preflight and progress bars.
    """
    torch.manual_seed(seed)
    first = load_model(start, system_builder)
    if not isinstance(first, JointEmbedding) or "video" not in first.columns:
        raise ValueError(
            f"start={start}: got a {type(first).__name__}; expected a run of `sensorium train videoprism`"
        )
    model = stage_two(first.encoders["video"], share, shuffled)
    config = model.student.model.config
    clips = Clips(seed=SECOND_SEED + seed, size=config.image_size, frames=config.num_frames)
    tests = VideoTests(clips.size, clips.frames, probed, tested)

    def evaluate(trained: torch.nn.Module) -> dict[str, GeneratedScore | Score]:
        assert isinstance(trained, MaskedVideo)
        both = copy.deepcopy(first)  # the words of stage 1 still find the clips of stage 2
        both.encoders["video"] = trained.student
        made = tests.scores(both, untrained=trained.teacher)
        return {name.replace("untrained", "stage_one"): score for name, score in made.items()}

    return Run(
        name="masked_videoprism",
        folder=folder,
        system="masked_videoprism",
        system_args={**read(start).args, "share": share, "shuffled": shuffled},
        model=model,
        data=range(ENDLESS),
        collate=ClipCollator(model.by_column, clips),
        objectives=[GlobalLocalDistillation()],
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        part_lr={"decoder.*": 3 * lr},
        freeze=["teacher"],
        weight_decay=0.05,
        warmup=0.05,
        seed=seed,
        save_every=50,
        evaluate=evaluate,
        data_card=DATA_CARD,
        progress=progress,
    )


DATA_CARD = (
    "Scenes composed of emoji drawings by four artists (datasets/emoji, licences of the artists) in which one thing "
    "moves, with an English sentence that says which and where to. Tested on drawings by an unseen artist."
)
