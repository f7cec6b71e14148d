"""Scene -> what a sensor knows of it: where things are and how they move, but not what they are.

Scene -> float32[33], named by STATE

It also knows what no picture shows: where a robot stands and where it is to go. `clear_path` asks which thing stands in
its way, so picture and state are needed together: without the state the best is a guess among the things seen, without
the picture the place of the obstacle is known and its name is not. Planning over such states after PaLM-E (Driess et
al. 2023, arXiv:2303.03378, section 4: state estimation vectors).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np

from sensorium.data.scenes.questions import Question, Wording
from sensorium.data.scenes.scene import Box, Placed, Scene

SLOTS = 4
_OF_A_THING = ("present", "x", "y", "width", "height", "velocity_x", "velocity_y")
_OF_THE_TASK = ("path.present", "robot.x", "robot.y", "goal.x", "goal.y")
STATE = tuple(f"thing{slot}.{what}" for slot in range(SLOTS) for what in _OF_A_THING) + _OF_THE_TASK
"""What each number is. Places are of centres; lengths are in sides of the picture (0 to 1, y down), velocities in
sides a second; `present` is 1 or 0, and all of an absent thing or path is 0. Things come in the order of the scene,
which says nothing about what they are."""

ROOM = 10 / 224  # how far the path keeps from every other thing, as a share of the side
LENGTH = 0.4  # of the path at least, as a share of the side
TRIES = 60

Point = tuple[float, float]


def state(scene: Scene) -> np.ndarray:
    """float32[33] of a scene at time 0, named by STATE."""
    numbers = np.zeros(len(STATE), np.float32)
    width = len(_OF_A_THING)
    for slot, placed in enumerate(scene.things):
        x0, y0, x1, y1 = placed.box
        measured = np.array([*placed.centre, x1 - x0, y1 - y0, *placed.velocity]) / scene.size
        numbers[slot * width : (slot + 1) * width] = 1.0, *measured
    if task := path(scene):
        (robot, goal), _ = task
        numbers[SLOTS * width :] = 1.0, *(np.array([*robot, *goal]) / scene.size)
    return numbers


def plans(scene: Scene, language: str = "en") -> list[Question]:
    """`clear_path`, where the scene has a path: the one thing that stands on the way."""
    task = path(scene)
    if task is None:
        return []
    return [Wording(scene, language)("clear_path", task[1].thing, places=True)]


def path(scene: Scene) -> tuple[tuple[Point, Point], Placed] | None:
    """((robot, goal), the one thing on the straight way between them), in pixels.

    Each thing that is one of a kind is the obstacle equally often: None unless a path over every one of them can be
    found, so that neither size nor place makes one of them the better guess. None too when fewer than two things
    are one of a kind. The path runs through the middle half of the obstacle, and at least ROOM from all others.
    """
    once = scene.once()
    if len(once) < 2:
        return None
    draw = random.Random(f"path/{scene.id}")
    paths = []
    for obstacle in once:
        others = [placed.box for placed in scene.things if placed is not obstacle]
        found = _over(draw, obstacle.box, others, scene.size)
        if found is None:
            return None
        paths.append((found, obstacle))
    return draw.choice(paths)


def crosses(start: Point, end: Point, box: Box, room: float = 0.0) -> bool:
    """True when the way from start to end comes within a box grown by `room` pixels to each side (Liang-Barsky)."""
    low, high = 0.0, 1.0
    for axis in (0, 1):
        near, far = box[axis] - room - start[axis], box[axis + 2] + room - start[axis]
        step = end[axis] - start[axis]
        if step == 0:
            if near > 0 or far < 0:
                return False
        else:
            enter, leave = sorted((near / step, far / step))
            low, high = max(low, enter), min(high, leave)
    return low <= high


def _over(draw: random.Random, box: Box, others: Sequence[Box], size: int) -> tuple[Point, Point] | None:
    """A path with both ends outside of the box, through its middle half, clear of the others."""
    x0, y0, x1, y1 = box
    room = ROOM * size
    for _ in range(TRIES):
        through = [low + (high - low) * draw.uniform(0.25, 0.75) for low, high in ((x0, x1), (y0, y1))]
        angle = draw.uniform(0, 2 * math.pi)
        ends = []
        for way in (1, -1):
            length = draw.uniform(0.2, 0.7) * size
            ends.append(
                (through[0] + way * length * math.cos(angle), through[1] + way * length * math.sin(angle))
            )
        start, end = ends
        inside = all(0 <= part <= size for point in ends for part in point)
        outside_box = not any(crosses(point, point, box, room=1) for point in ends)
        if (
            inside
            and outside_box
            and math.dist(start, end) >= LENGTH * size
            and not any(crosses(start, end, other, room) for other in others)
        ):
            return start, end
    return None
