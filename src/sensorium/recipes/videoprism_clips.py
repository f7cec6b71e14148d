"""Clips in which one thing moves, with a sentence that says what goes which way, for VideoPrism's two stages.

place -> Clip -> Sample(video, text "the owl moves left on a green ground")
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import count
from typing import Any

import numpy as np

from sensorium.data.batch import Collator
from sensorium.data.sample import Batch, Sample
from sensorium.data.scenes import MovingScenes, Placed, Question, Scene
from sensorium.data.scenes.motion import CrossingScenes, backwards, direction
from sensorium.media import Video
from sensorium.recipes.clip_captions import sentence

ENDLESS = 1_000_000  # clips; a run sees a few ten thousand of them
APART = 1_000  # places of the stream between two clips: more than are ever looked through for one


@dataclass(frozen=True)
class Clip:
    """A scene in which exactly one thing moves, and its video."""

    stream: MovingScenes
    scene: Scene
    video: Video

    @cached_property
    def moving(self) -> Placed:
        return next(placed for placed in self.scene.things if direction(placed))

    @property
    def direction(self) -> str:
        return str(direction(self.moving))

    @property
    def caption(self) -> str:
        return sentence(self.moving.thing.en, self.direction, self.scene.ground)

    @property
    def questions(self) -> list[Question]:
        return self.stream.questions(self.scene)

    def backwards(self) -> Clip:
        """From its end to its start: what moved left moves right. No single frame tells the two apart."""
        turned = Video(self.video.frames[::-1].copy(), self.video.times)
        return Clip(self.stream, backwards(self.scene, self.stream.seconds), turned)

    def sample(self, briefly: bool = False) -> Sample:
        """Its sentence is its meaning, so that two clips of one sentence are right answers to both.

        briefly: "it moves left", which says nothing but the motion
        """
        return self._shown(self.video, f"it moves {self.direction}" if briefly else self.caption)

    def still(self) -> Sample:
        """Its last frame, all the time: where the thing got to, "it is left"."""
        ended = Video(np.repeat(self.video.frames[-1:], len(self.video.frames), axis=0), self.video.times)
        return self._shown(ended, f"it is {self.direction}")

    def _shown(self, video: Video, said: str) -> Sample:
        return Sample(
            id=self.scene.id,
            columns={"video": video, "text": said},
            modality={"video": "video", "text": "text"},
            meanings=(said,),
            fields={
                "direction": self.direction,
                "thing": self.moving.thing.en,
                "ground": self.scene.ground,
            },
        )


@dataclass(frozen=True)
class Clips:
    """An endless stream of moving scenes, only those in which exactly one thing moves.

    split, seed: of `MovingScenes`; size: pixels of a frame's side; frames: of a clip
    crossing: one large thing crosses the picture alone (`CrossingScenes`), for first lessons
    """

    split: str = "train"
    seed: int = 0
    size: int = 64
    frames: int = 4
    crossing: bool = False

    @property
    def stream(self) -> MovingScenes:
        return _stream(self.crossing, self.split, self.seed, self.size, self.frames)

    def clip(self, i: int) -> Clip:
        scenes = (self.stream.scene(APART * i + k) for k in count())
        scene = next(scene for scene in scenes if sum(map(bool, map(direction, scene.things))) == 1)
        return Clip(self.stream, scene, self.stream.video(scene))

    def __call__(self, i: int) -> Sample:
        return self.clip(i).sample()

    def both_ways(self, many: int) -> list[Clip]:
        """The first many / 2 clips, and after them each of these backwards."""
        there = [self.clip(i) for i in range(many // 2)]
        return [*there, *(clip.backwards() for clip in there)]


@dataclass(frozen=True)
class Lessons:
    """What comes when, in clips from the beginning of a run: places, then a motion alone, then motions among others.

    stills:   until here one large thing stands still at an edge, "it is left"; then for half as long every other batch
    crossing: for so many clips after that it crosses the picture: always in the first half, then more and more rarely
    brief:    until here sentences say nothing but the motion: "it moves left"

    From random weights a clip and the same clip backwards lie a hundred times closer together than two clips do, and
    which way something goes is the last thing that a contrast over whole sentences finds: not in thousands of clips.
    Who knows where a thing is has only to tell early from late.
    """

    stills: int = 0
    crossing: int = 0
    brief: int = 0

    def still(self, place: int) -> bool:
        return place < self.stills or (place < 1.5 * self.stills and _chance("still", place) < 0.5)

    def crosses(self, place: int) -> bool:
        past = place - self.stills
        return self.crossing > 0 and (
            past < 0 or _chance("crossing", place) < min(1.0, 2 - 2 * past / self.crossing)
        )

    def briefly(self, place: int) -> bool:
        return place < self.brief


@dataclass(frozen=True)
class ClipCollator:
    """B places of a stream -> Batch of 2 B rows: each clip, and after them each clip backwards.

    encoders: by column; other columns of the clips are left out
    lessons:  the place that comes first in a batch says which it has
    """

    encoders: dict[str, Any] = field(default_factory=dict)
    clips: Clips = Clips()
    lessons: Lessons = Lessons()

    def __call__(self, places: Sequence[int]) -> Batch:
        first = int(places[0])
        still = self.lessons.still(first)
        clips = replace(self.clips, crossing=True) if still or self.lessons.crosses(first) else self.clips
        there = [clips.clip(int(i)) for i in places]
        both = [*there, *(clip.backwards() for clip in there)]
        briefly = self.lessons.briefly(first)
        samples = [clip.still() if still else clip.sample(briefly) for clip in both]
        return Collator(self.encoders)(samples)


def _chance(what: str, place: int) -> float:
    return random.Random(f"lesson/{what}/{place}").random()


def in_turn(seed: int, epoch: int, places: int) -> np.ndarray:
    """For `Run.order`: the stream is random already, and lessons come one after another."""
    return np.arange(places)


@lru_cache(maxsize=8)
def _stream(crossing: bool, split: str, seed: int, size: int, frames: int) -> MovingScenes:
    return (CrossingScenes if crossing else MovingScenes)(split, seed, size=size, frames=frames)
