"""Scenes of every split, composed once; drawings decoded once."""

from __future__ import annotations

import pytest

from sensorium.data.scenes import SPLITS, Scene, Scenes
from sensorium.data.scenes.drawing import Drawings

FEW = 300


@pytest.fixture(scope="session")
def streams() -> dict[str, Scenes]:
    drawings = Drawings()
    return {split: Scenes(split, drawings=drawings) for split in SPLITS}


@pytest.fixture(scope="session")
def scenes(streams) -> dict[str, list[Scene]]:
    return {split: [stream.scene(i) for i in range(FEW)] for split, stream in streams.items()}
