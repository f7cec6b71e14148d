"""Scene -> picture and masks: the artists' drawings, resized and laid on the ground.

Scene -> uint8[H, W, 3], bool[N, H, W]
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache

import numpy as np

from sensorium.data.scenes.scene import Placed, Scene
from sensorium.data.scenes.vocabulary import drawn
from sensorium.media import Source, image

OPAQUE = 128  # alpha from which a pixel belongs to the thing


class Drawings:
    """The artists' drawings by (thing, artist): decoded once and kept, resized ones kept while they are in use.

    kept: resized drawings held at most (about 25 KB each)
    """

    def __init__(self, kept: int = 1024) -> None:
        self._decoded: dict[tuple[str, str], np.ndarray] = {}
        self._resized: OrderedDict[tuple[str, str, int, int], np.ndarray] = OrderedDict()
        self._kept = kept

    def __getstate__(self) -> dict:
        """Sent to another process without what is kept: each decodes its own."""
        return {"_decoded": {}, "_resized": OrderedDict(), "_kept": self._kept}

    def original(self, code: str, artist: str) -> np.ndarray:
        """uint8[H, W, 4] as the data set holds it, cropped to what is seen."""
        key = (code, artist)
        if key not in self._decoded:
            self._decoded[key] = image.decode_rgba(_sources()[key])
        return self._decoded[key]

    def fitting(self, code: str, artist: str, side: int) -> tuple[int, int]:
        """(width, height) with the longer one `side` pixels and the drawing's shape."""
        height, width = self.original(code, artist).shape[:2]
        longest = max(height, width)
        return max(1, round(width * side / longest)), max(1, round(height * side / longest))

    def resized(self, placed: Placed) -> np.ndarray:
        """uint8[h, w, 4] of the size of the thing's box."""
        x0, y0, x1, y1 = placed.box
        key = (placed.thing.code, placed.artist, x1 - x0, y1 - y0)
        if key in self._resized:
            self._resized.move_to_end(key)
            return self._resized[key]
        drawing = image.resize(self.original(key[0], key[1]), height=key[3], width=key[2])
        self._resized[key] = drawing
        if len(self._resized) > self._kept:
            self._resized.popitem(last=False)
        return drawing

    def picture(self, scene: Scene, seconds: float = 0.0) -> np.ndarray:
        """uint8[size, size, 3] of the scene at a time; later things lie over earlier ones."""
        canvas = np.empty((scene.size, scene.size, 3), np.uint8)
        canvas[:] = scene.colour
        for placed in scene.things:
            x0, y0, x1, y1 = placed.at(seconds)
            rgba = self.resized(placed).astype(np.uint16)
            alpha = rgba[..., 3:]
            under = canvas[y0:y1, x0:x1]
            canvas[y0:y1, x0:x1] = (rgba[..., :3] * alpha + under * (255 - alpha) + 127) // 255
        return canvas

    def masks(self, scene: Scene, seconds: float = 0.0) -> np.ndarray:
        """bool[N, size, size]: the pixels of each thing at a time, without those that a later one covers."""
        masks = np.zeros((len(scene.things), scene.size, scene.size), bool)
        for place, placed in enumerate(scene.things):
            x0, y0, x1, y1 = placed.at(seconds)
            seen = self.resized(placed)[..., 3] >= OPAQUE
            masks[:place, y0:y1, x0:x1] &= ~seen
            masks[place, y0:y1, x0:x1] = seen
        return masks


@lru_cache(maxsize=1)
def _sources() -> dict[tuple[str, str], Source]:
    """Undecoded drawings by (code of the thing, artist)."""
    found: dict[tuple[str, str], Source] = {}
    for sample in drawn():
        drawing = sample.columns["image"]
        assert isinstance(drawing, Source)
        found[sample.fields["thing"], sample.fields["artist"]] = drawing
    return found
