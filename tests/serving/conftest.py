"""A `Served` of small models."""

import sys
from pathlib import Path

import pytest

from sensorium.serving.served import Served

sys.path.insert(0, str(Path(__file__).parents[1] / "facade"))  # where `tiny_served` finds a language model
sys.path.insert(0, str(Path(__file__).parent))

from tiny_served import Made


@pytest.fixture(scope="session")
def made() -> Made:
    """The models; `made.served(folder, settings)` serves them."""
    return Made()


@pytest.fixture
def served(made, tmp_path) -> Served:
    """Models "talker", "colours", "moods", and an index "squares" of ten pictures in five colours."""
    return made.served(tmp_path / "squares")
