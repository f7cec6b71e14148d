"""A tokenizer of few words, and media to put in. Lets the tests import `talking`."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from few_words import few_words
from transformers import PreTrainedTokenizerFast

from sensorium.media import Audio

sys.path.insert(0, str(Path(__file__).parent))

WORDS = [
    *["a", "the", "red", "blue", "cat", "dog", "ship", "runs", "sleeps", "loud", "bell", "rings"],
    "<unk>",
    "<pad>",
    "<s>",
    "</s>",
]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Words to ids as listed in WORDS, between <s> and </s>, whose id is the largest, as in CLIP's."""
    return few_words(WORDS)


@pytest.fixture
def sounds() -> list[Audio]:
    """Tones of different pitch and length in a little noise."""
    random = np.random.default_rng(0)
    made = []
    for seconds, pitch in ((0.5, 200), (1.5, 1000), (0.2, 6000)):
        t = np.arange(round(48_000 * seconds)) / 48_000
        wave = 0.3 * np.sin(2 * np.pi * pitch * t) + random.normal(0, 0.01, len(t))
        made.append(Audio(wave.astype(np.float32), 48_000))
    return made
