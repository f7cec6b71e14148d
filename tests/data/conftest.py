"""Small encoders with known answers, and small media files. Lets the tests import `chat`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch import Tensor

from sensorium.features import Features

sys.path.insert(0, str(Path(__file__).parent))


class MeanColour(torch.nn.Module):
    """Pictures -> the mean of each colour times a weight; it counts what it is asked for."""

    modality, width, preparation = "image", 3, "mean of each colour"

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))
        self.calls: list[int] = []

    @property
    def identity(self) -> str:
        return hashlib.sha256(f"{type(self).__name__} {self.factor.item()}".encode()).hexdigest()

    def prepare(self, media: Sequence[np.ndarray]) -> dict[str, Tensor]:
        return {
            "means": torch.tensor(np.array([one.mean(axis=(0, 1)) for one in media]), dtype=torch.float32)
        }

    def encode(self, media: Sequence[Any], batch_size: int = 32, *, what: str = "tokens") -> Features:
        self.calls.append(len(media))
        with torch.no_grad():
            return Features.from_pooled(self.prepare(media)["means"] * self.factor)


class Letters(torch.nn.Module):
    """Text -> one token a letter, float[letters, 2] = (code point, place); pooled is their sum."""

    modality, width, preparation = "text", 2, "code points"
    identity = "letters"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def prepare(self, media: Sequence[str]) -> dict[str, Tensor]:
        lengths = [len(text) for text in media]
        codes = torch.zeros(len(media), max(lengths), dtype=torch.int64)
        for row, text in enumerate(media):
            codes[row, : len(text)] = torch.tensor([ord(letter) for letter in text])
        return {"codes": codes, "lengths": torch.tensor(lengths)}

    def encode(self, media: Sequence[Any], batch_size: int = 32, *, what: str = "tokens") -> Features:
        self.calls.append(len(media))
        inputs = self.prepare(media)
        places = torch.arange(inputs["codes"].shape[1])
        mask = places < inputs["lengths"][:, None]
        tokens = torch.stack([inputs["codes"] * mask, places * mask], dim=-1).float()
        return Features(tokens, mask, tokens.sum(dim=1))


@pytest.fixture
def mean_colour():
    return MeanColour


@pytest.fixture
def letters():
    return Letters


@pytest.fixture
def picture():
    """A PNG of one colour: `picture(path, (r, g, b))`."""

    def write(
        path: Path, colour: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (4, 3)
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)
        return path

    return write


@pytest.fixture
def sound():
    def write(path: Path, seconds: float = 0.1, rate: int = 16_000) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        times = np.arange(int(seconds * rate)) / rate
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * times), rate)
        return path

    return write
