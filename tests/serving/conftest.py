"""A `Served` of small models."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "facade"))  # where the models are that `tiny_served` serves

import pytest
from tiny_served import Made

from sensorium.serving.served import Served


@pytest.fixture(scope="session")
def made() -> Made:
    """The models; `made.served(folder, settings)` serves them."""
    return Made()


@pytest.fixture
def served(made, tmp_path) -> Served:
    """Models "talker", "colours", "moods", and an index "squares" of ten pictures in five colours."""
    return made.served(tmp_path / "squares")
