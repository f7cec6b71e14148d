"""Assistants over the small models of `small_model`, and pictures to show them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from sensorium.facade import Assistant

sys.path.insert(0, str(Path(__file__).parent))

from small_model import model_of


@pytest.fixture(scope="module", params=["llama", "gpt2", "t5"])
def any_assistant(request) -> Assistant:
    return Assistant(model_of(request.param), precision="fp32" if request.param == "llama" else "auto")


@pytest.fixture(scope="module")
def assistant() -> Assistant:
    return Assistant(model_of("llama"), precision="fp32")


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    from PIL import Image

    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.png" for name in ("a", "b")]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)).save(path)
    return paths
