"""A tokenizer of few words, and media to put in. Lets the tests import `talking`."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
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
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", WORDS.index("<s>")), ("</s>", WORDS.index("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture
def texts() -> list[str]:
    return ["the red cat sleeps", "dog", "a blue ship runs the red dog a loud cat"]


@pytest.fixture
def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 60), (64, 64), (97, 33))]


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
