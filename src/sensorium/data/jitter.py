"""`Jitter`: the same picture in other light, drawn anew each time. Nothing moves, so places and sizes stay true."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter


@dataclass(frozen=True)
class Jitter:
    """uint8[H, W, 3] -> uint8[H, W, 3], for `augment={"image": Jitter()}`.

    brightness, contrast, colour: each factor is drawn from 1 − x … 1 + x (`Pillow.ImageEnhance`)
    hue:  drawn from −x … x, in parts of the colour circle; small, so that colours keep their names
    blur: in this share of the pictures, by 0.5 to 1.5 pixels

    Draws from the global random state of `random`, which the training loop seeds for every item.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    colour: float = 0.4
    hue: float = 0.015
    blur: float = 0.2

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        image = Image.fromarray(picture)
        for enhance, most in (
            (ImageEnhance.Brightness, self.brightness),
            (ImageEnhance.Contrast, self.contrast),
            (ImageEnhance.Color, self.colour),
        ):
            if most:
                image = enhance(image).enhance(random.uniform(1 - most, 1 + most))
        if self.hue:
            turn = round(255 * random.uniform(-self.hue, self.hue))
            h, s, v = image.convert("HSV").split()
            turned = Image.fromarray(
                (np.asarray(h, np.int16) + turn).astype(np.uint8)
            )  # wraps round the circle
            image = Image.merge("HSV", (turned, s, v)).convert("RGB")
        if random.random() < self.blur:
            image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.5, 1.5)))
        return np.asarray(image)
