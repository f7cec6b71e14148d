"""What a scene is: drawn things on a ground, each with its place, size and motion.

`Scene` is plain data; composing.py makes it, drawing.py draws it, questions.py asks about it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sensorium.data.scenes.vocabulary import Thing

GROUNDS = {
    "red": ((205, 70, 70), "红色"),
    "yellow": ((245, 215, 80), "黄色"),
    "green": ((90, 170, 90), "绿色"),
    "blue": ((80, 130, 215), "蓝色"),
    "purple": ((150, 100, 190), "紫色"),
    "grey": ((150, 150, 150), "灰色"),
}
"""English name -> RGB and Chinese name. Neither white nor black: some drawings would vanish on them."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Placed:
    """One thing in a scene.

    box:      (x0, y0, x1, y1) in pixels at time 0, x1 and y1 exclusive: what its drawing covers
    velocity: (x, y) in pixels a second, y down; (0, 0) in a still scene
    """

    thing: Thing
    artist: str
    box: Box
    velocity: tuple[float, float] = (0.0, 0.0)

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) in pixels at time 0."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2

    @property
    def side(self) -> int:
        """The longer side of the box in pixels: the size by which "biggest" is judged."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, y1 - y0)

    @property
    def area(self) -> int:
        """Of the box, in pixels."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)

    def at(self, seconds: float) -> Box:
        """Where its box is at a time, rounded to pixels."""
        x, y = round(self.velocity[0] * seconds), round(self.velocity[1] * seconds)
        x0, y0, x1, y1 = self.box
        return x0 + x, y0 + y, x1 + x, y1 + y


@dataclass(frozen=True)
class Scene:
    """size: width and height of the picture in pixels; ground: a key of GROUNDS; things: in no order that tells."""

    id: str
    size: int
    ground: str
    things: tuple[Placed, ...]

    @property
    def colour(self) -> tuple[int, int, int]:
        """RGB of the ground."""
        return GROUNDS[self.ground][0]

    @property
    def names(self) -> tuple[str, ...]:
        """English names, one for each placed thing."""
        return tuple(placed.thing.en for placed in self.things)

    def once(self) -> list[Placed]:
        """The things of which the scene holds only one, so that "the dog" is one dog."""
        names = self.names
        return [placed for placed in self.things if names.count(placed.thing.en) == 1]
