"""Encoders of a few numbers in the place of the pretrained ones, so that a fusion network trains in a second."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sensorium.encoders.encoder import Encoder
from sensorium.features import Features
from sensorium.systems import fusion_network

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Colours(Encoder):
    """A picture's upper and its lower half as two tokens: their mean colours."""

    modality, width, preparation = "image", 3, "halves"

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def prepare(self, media: Sequence) -> dict[str, Tensor]:
        halves = [(one[: len(one) // 2], one[len(one) // 2 :]) for one in media]
        tokens = [[half.reshape(-1, 3).mean(0) / 255 for half in pair] for pair in halves]
        return {"colours": torch.tensor(np.array(tokens), dtype=torch.float32)}

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        tokens = inputs["colours"] * self.scale
        return Features(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), tokens.mean(1))


class Letters(Encoder):
    """Each letter a token."""

    modality, width, preparation = "text", len(LETTERS), "letters"

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(self.width))

    def prepare(self, media: Sequence[str]) -> dict[str, Tensor]:
        placed = [[LETTERS.find(letter) for letter in text.lower()] or [-1] for text in media]
        longest = max(map(len, placed))
        ids = torch.tensor([row + [-2] * (longest - len(row)) for row in placed])
        return {"ids": ids}

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        ids = inputs["ids"]
        known = (ids >= 0)[..., None].to(self.scale.dtype)
        tokens = nn.functional.one_hot(ids.clamp(min=0), self.width).to(self.scale.dtype) * known * self.scale
        mask = ids > -2
        return Features(tokens, mask, tokens.sum(1) / mask.sum(1, keepdim=True))


def put_in(monkeypatch) -> None:
    """`fusion_network` builds these."""
    for name, tower in {"efficientnet_lite0": Colours, "minilm": Letters}.items():
        monkeypatch.setitem(fusion_network.ENCODERS, name, tower)


def photos_table(file: Path, header: Sequence[str], rows: Iterable[tuple[np.ndarray, Sequence[Any]]]) -> Path:
    """A user's table, "photo" and the columns of `header`, with each row's picture beside it."""
    file.parent.mkdir()
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["photo", *header])
        for number, (pixels, cells) in enumerate(rows):
            Image.fromarray(pixels).save(file.parent / f"{number}.png")
            writer.writerow([f"{number}.png", *cells])
    return file


def plain(colour: Sequence[int] | int, mark: int) -> np.ndarray:
    """uint8[4, 4, 3] of one colour, but for a corner that makes no two pictures alike."""
    pixels = np.full((4, 4, 3), colour, np.uint8)
    pixels[0, 0] = mark
    return pixels
