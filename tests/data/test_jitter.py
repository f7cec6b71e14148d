"""Pictures in other light: what may change and what may not."""

import colorsys
import random

import numpy as np
import pytest

from sensorium.data.jitter import Jitter
from sensorium.data.scenes import GROUNDS, Scenes

STILL = Jitter(brightness=0, contrast=0, colour=0, hue=0, blur=0)


@pytest.fixture
def picture() -> np.ndarray:
    scenes = Scenes("train")
    return scenes.picture(scenes.scene(0))


def test_the_seed_decides(picture):
    random.seed(3)
    first = Jitter()(picture)
    random.seed(3)
    assert (Jitter()(picture) == first).all()
    assert (Jitter()(picture) != first).any()


def test_nothing_asked_changes_nothing(picture):
    assert (STILL(picture) == picture).all()


def test_grounds_keep_the_colour_they_are_called_by():
    def hue(rgb):
        h, saturation, _ = colorsys.rgb_to_hsv(*(c / 255 for c in rgb))
        return h, saturation

    random.seed(0)
    hues = {name: hue(colour)[0] for name, (colour, _) in GROUNDS.items() if name != "grey"}
    for name, (colour, _) in GROUNDS.items():
        flat = np.full((32, 32, 3), colour, np.uint8)
        for _ in range(20):
            seen, saturation = hue(Jitter()(flat).astype(float).mean((0, 1)))
            if name == "grey":
                assert saturation < 0.05
            else:
                away = {other: min(abs(seen - h), 1 - abs(seen - h)) for other, h in hues.items()}
                assert min(away, key=away.get) == name
                assert saturation > 0.1
