"""Moving scenes: things that move at a constant velocity, as videos, with questions that need several frames.

(split, seed, i) -> Scene with velocities -> Video, questions

moves      which thing moves?                exactly one does
direction  which way does the X move?        left, right, up or down, uniform
faster     which moves faster, the X or Y?   one at least twice as fast, named first by a coin

Where a thing is in one frame must not tell which way it goes: the strip that it sweeps is laid out first, and a coin
then says from which end it starts. So with the frames in random order the axis can be seen and the sign cannot.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sensorium.data.scenes.composing import Scenes, layout
from sensorium.data.scenes.drawing import Drawings
from sensorium.data.scenes.questions import Question, Wording, overall
from sensorium.data.scenes.scene import GROUNDS, Placed, Scene
from sensorium.data.scenes.vocabulary import SEEN
from sensorium.media import Video

DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""English answer -> (x, y), y down."""
IN_CHINESE = {"left": "左", "right": "右", "up": "上", "down": "下"}
SIDES = (50 / 224, 68 / 224)  # of the longer side of a drawing
LARGE_SIDES = (90 / 224, 130 / 224)  # where one thing crosses the picture alone
SLOW, FAST = (
    (28 / 224, 40 / 224),
    (80 / 224, 110 / 224),
)  # ways gone in the whole video, as shares of the side
ANY_SPEED = (40 / 224, 110 / 224)


class MovingScenes(Scenes):
    """Scenes of 2 to 4 different things of which one or two move; splits, seed, size and things as in `Scenes`.

    frames:  of a video
    seconds: from its first frame to its last
    """

    def __init__(
        self,
        split: str = "train",
        seed: int = 0,
        size: int = 224,
        things: int = len(SEEN),
        frames: int = 8,
        seconds: float = 2.0,
        drawings: Drawings | None = None,
    ) -> None:
        super().__init__(split, seed, size, things, drawings)
        if frames < 2 or not seconds > 0:
            raise ValueError(
                f"a video: got {frames} frames in {seconds} s; expected 2 or more in more than 0 s"
            )
        self.frames, self.seconds = frames, seconds

    def scene(self, i: int) -> Scene:
        """The i-th moving scene; boxes are those of the first frame."""
        id = f"moving/{self.split}/{self.seed}/{i}"
        draw = random.Random(f"scene/{len(self.things)}/{id}")
        things = self._together(draw, draw.randint(2, 4))
        artist = draw.choice(self.artists)
        ground = draw.choice(list(GROUNDS))
        ways = (
            [draw.uniform(*ANY_SPEED)] if draw.random() < 0.5 else [draw.uniform(*SLOW), draw.uniform(*FAST)]
        )
        ways += [0.0] * (len(things) - len(ways))
        draw.shuffle(ways)
        pixels = [round(way * self.size) for way in ways]
        towards = [draw.choice(list(DIRECTIONS.values())) for _ in things]
        strips = None
        while strips is None:
            sides = [round(draw.uniform(*SIDES) * self.size) for _ in things]
            sizes = [self.drawings.fitting(thing.code, artist, side) for thing, side in zip(things, sides)]
            swept = [
                (width + abs(x) * way, height + abs(y) * way)
                for (width, height), (x, y), way in zip(sizes, towards, pixels)
            ]
            strips = layout(draw, swept, self.size)
        placed = []
        for thing, (width, height), (x, y), way, strip in zip(things, sizes, towards, pixels, strips):
            # To the right or down it starts at the near end of its strip, to the left or up at the far end.
            x0, y0 = strip[0] + way * (x < 0), strip[1] + way * (y < 0)
            velocity = (x * way / self.seconds, y * way / self.seconds) if way else (0.0, 0.0)
            placed.append(Placed(thing, artist, (x0, y0, x0 + width, y0 + height), velocity))
        return Scene(id, self.size, ground, tuple(placed))

    def video(self, scene: Scene) -> Video:
        """`frames` pictures, evenly over `seconds`, the first and the last at its ends."""
        times = np.linspace(0.0, self.seconds, self.frames)
        return Video(np.stack([self.drawings.picture(scene, float(time)) for time in times]), times)

    def questions(self, scene: Scene, language: str = "en") -> list[Question]:
        """`ground`, `there` twice and `how_many`, which hold in every frame, then those about motion."""
        return list(self._ask(scene, Wording(scene, language)))

    def _ask(self, scene: Scene, word: Wording) -> Iterator[Question]:
        draw = random.Random(f"questions/{scene.id}")
        yield from overall(draw, scene, self.absent(scene), word)
        moving = sorted((placed for placed in scene.things if speed(placed)), key=speed)
        if len(moving) == 1:
            yield word("moves", moving[0].thing, places=True)
        one = draw.choice(moving)
        yield word("direction", _said(direction(one), word.language), [one.thing])
        if len(moving) == 2:
            slow, fast = (placed.thing for placed in moving)
            pair = [slow, fast] if draw.random() < 0.5 else [fast, slow]
            yield word("faster", fast, pair)


class CrossingScenes(MovingScenes):
    """The easiest of moving scenes: one large thing that crosses the picture from one side to the other.

    For a model's first lessons: all that changes from frame to frame is what moves, and it changes most of the picture.
    """

    def scene(self, i: int) -> Scene:
        id = f"crossing/{self.split}/{self.seed}/{i}"
        draw = random.Random(f"scene/{len(self.things)}/{id}")
        thing, artist = draw.choice(self.things), draw.choice(self.artists)
        ground = draw.choice(list(GROUNDS))
        side = round(draw.uniform(*LARGE_SIDES) * self.size)
        sizes = self.drawings.fitting(thing.code, artist, side)
        way, (x, y) = draw.choice(list(DIRECTIONS.items()))
        free = [self.size - length for length in sizes]
        along = 0 if x else 1
        corner = [draw.randint(0, room) for room in free]
        corner[along] = 0 if way in ("right", "down") else free[along]
        box = (corner[0], corner[1], corner[0] + sizes[0], corner[1] + sizes[1])
        velocity = (x * free[0] / self.seconds, y * free[1] / self.seconds)
        return Scene(id, self.size, ground, (Placed(thing, artist, box, velocity),))


def speed(placed: Placed) -> float:
    """Pixels a second."""
    return float(np.hypot(*placed.velocity))


def direction(placed: Placed) -> str | None:
    """A key of DIRECTIONS; None for a thing that stands still."""
    signs = tuple(int(np.sign(part)) for part in placed.velocity)
    return next((name for name, towards in DIRECTIONS.items() if towards == signs), None)


def shuffled(video: Video, seed: str) -> Video:
    """The same frames in another order at the same times: a blind baseline for the sense of time.

    `direction` falls to a coin between the two ways of an axis. What moves and how far stays visible.
    """
    order = list(range(len(video.frames)))
    random.Random(f"frames/{seed}").shuffle(order)
    return Video(video.frames[order], video.times)


def backwards(scene: Scene, seconds: float) -> Scene:
    """The scene that a video of so many seconds shows when it is played from its end; no single frame tells."""
    turned = tuple(
        replace(placed, box=placed.at(seconds), velocity=(0.0 - placed.velocity[0], 0.0 - placed.velocity[1]))
        for placed in scene.things
    )
    return replace(scene, id=f"{scene.id}/back", things=turned)


def frozen(video: Video) -> Video:
    """The frame in the middle, shown at every time: a blind baseline for all motion."""
    middle = len(video.frames) // 2
    return Video(np.repeat(video.frames[middle : middle + 1], len(video.frames), axis=0), video.times)


def _said(way: str | None, language: str) -> str:
    assert way is not None
    return IN_CHINESE[way] if language == "zh" else way
