"""Clips in which one thing moves, with a sentence that says what goes which way, for VideoPrism's two stages.

place -> Sample(video, text "the owl moves left on a green ground")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Any

from sensorium.data.batch import Collator
from sensorium.data.sample import Batch, Sample
from sensorium.data.scenes import MovingScenes, Scene
from sensorium.data.scenes.motion import direction
from sensorium.media import Video

APART = 1_000  # places of the stream between two clips: more than are ever looked through for one
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}


@dataclass(frozen=True)
class Clips:
    """An endless stream of moving scenes, only those in which exactly one thing moves.

    split, seed: of `MovingScenes`; size: pixels of a frame's side; frames: of a clip
    """

    split: str = "train"
    seed: int = 0
    size: int = 64
    frames: int = 4

    @property
    def stream(self) -> MovingScenes:
        return _stream(self.split, self.seed, self.size, self.frames)

    def scene(self, i: int) -> Scene:
        scenes = (self.stream.scene(APART * i + k) for k in count())
        return next(scene for scene in scenes if sum(map(bool, map(direction, scene.things))) == 1)

    def __call__(self, i: int) -> Sample:
        """The i-th clip; its sentence is its meaning, so that two clips of one sentence are right answers to both."""
        scene = self.scene(i)
        moving = next(placed for placed in scene.things if direction(placed))
        return _sample(
            scene.id, self.stream.video(scene), moving.thing.en, str(direction(moving)), scene.ground
        )


def backwards(sample: Sample) -> Sample:
    """The same clip from its end to its start: what moved left moves right. No single frame tells the two apart."""
    video: Any = sample.columns["video"]
    fields = sample.fields
    turned = Video(video.frames[::-1].copy(), video.times)
    return _sample(
        f"{sample.id}/back", turned, fields["thing"], OPPOSITE[fields["direction"]], fields["ground"]
    )


def _sample(id: str, video: Video, thing: str, way: str, ground: str) -> Sample:
    said = f"the {thing} moves {way} on a {ground} ground"
    return Sample(
        id=id,
        columns={"video": video, "text": said},
        modality={"video": "video", "text": "text"},
        meanings=(said,),
        fields={"direction": way, "thing": thing, "ground": ground},
    )


@dataclass(frozen=True)
class ClipCollator:
    """B places of a stream -> Batch of 2 B rows: each clip, and after them each clip backwards.

    encoders: by column; other columns of the clips are left out
    """

    encoders: dict[str, Any] = field(default_factory=dict)
    clips: Clips = Clips()

    def __call__(self, places: Sequence[int]) -> Batch:
        there = [self.clips(int(i)) for i in places]
        return Collator(self.encoders)([*there, *map(backwards, there)])


@lru_cache(maxsize=8)
def _stream(split: str, seed: int, size: int, frames: int) -> MovingScenes:
    return MovingScenes(split, seed, size=size, frames=frames)
