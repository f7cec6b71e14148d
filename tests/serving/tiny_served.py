"""Something to serve, of small models: an assistant, a space of colours, a predictor, an index."""

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_towers
import torch
from PIL import Image
from small_model import model_of
from torch import Tensor, nn

from sensorium.encoders.encoder import Encoder
from sensorium.facade import Assistant, Predictor, SharedSpace
from sensorium.features import Features
from sensorium.media import Source
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.retrieval.index import Index
from sensorium.serving.indexes import NewRow, ServedIndex
from sensorium.serving.served import Served, ServedAssistant, ServedPredictor, ServedSpace
from sensorium.serving.settings import Settings
from sensorium.systems.fusion_network import fusion_network
from sensorium.tasks import AnyOf, OneOf

COLOURS = {
    "red": (230, 20, 20),
    "green": (20, 200, 40),
    "blue": (20, 40, 230),
    "yellow": (230, 210, 20),
    "grey": (120, 120, 120),
}
WIDTH = 8


class Known(Encoder):
    """A picture's mean colour, the colours that a text names, or how loud four parts of a sound are."""

    width, preparation = WIDTH, "known"

    def __init__(self, modality: str) -> None:
        super().__init__()
        self.modality, self.batches = modality, []
        self.scale = nn.Parameter(torch.ones(WIDTH))

    def prepare(self, media: Sequence) -> dict[str, Tensor]:
        self.batches.append(len(media))
        rows = np.stack([getattr(self, f"_{self.modality}")(one) for one in media])
        return {"rows": torch.tensor(rows, dtype=torch.float32)}

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        return Features.from_pooled(inputs["rows"] * self.scale)

    def _image(self, picture: np.ndarray) -> np.ndarray:
        return np.array([*picture.reshape(-1, 3).mean(0) / 255, 0, 0, 0, 0, 0.01])

    def _text(self, words: str) -> np.ndarray:
        named = sum((np.array(rgb) / 255 for name, rgb in COLOURS.items() if name in words), np.zeros(3))
        return np.array([*named, 0, 0, 0, 0.001 * (len(words) + 1), 0.01])

    def _audio(self, sound) -> np.ndarray:
        loud = [float(np.abs(part).mean()) for part in np.array_split(sound.samples, 4)]
        return np.array([0, 0, 0, *loud, 0.01])


def space() -> SharedSpace:
    return SharedSpace(JointEmbedding({name: Known(name) for name in ("image", "text", "audio")}))


def predictor() -> Predictor:
    """Of a photo and a title: one of two moods, any of two things."""
    with pytest.MonkeyPatch.context() as patch:
        tiny_towers.put_in(patch)
        torch.manual_seed(0)
        tasks = [OneOf("mood", ["sad", "glad"]), AnyOf("things", ["cat", "dog"])]
        encoders = {"photo": "efficientnet_lite0", "title": "minilm"}
        return Predictor(fusion_network(encoders, tasks, fusion="gated", width=8))


def png(colour: str | tuple[int, int, int], mark: int = 0, size: int = 6) -> bytes:
    """A picture of one colour; `mark` makes it differ from others of the same."""
    pixels = np.full((size, size, 3), COLOURS.get(colour, colour), np.uint8)
    pixels[0, 0] = (mark % 256, mark // 256, 9)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def picture(colour: str | tuple[int, int, int], mark: int = 0) -> Source:
    return Source("image", data=png(colour, mark), name=f"{colour} {mark}")


def wav(pitch: float = 440.0, seconds: float = 0.2) -> bytes:
    import soundfile

    out = io.BytesIO()
    times = np.arange(int(16_000 * seconds)) / 16_000
    soundfile.write(out, 0.5 * np.sin(2 * np.pi * pitch * times), 16_000, format="WAV")
    return out.getvalue()


def rows() -> list[NewRow]:
    """Two pictures of each colour, "red-0", "red-1", …, with a caption and the fields colour and bright."""
    return [
        NewRow(
            "image", picture(colour, mark), f"{colour}-{mark}", f"a {colour} square",
            {"colour": colour, "bright": sum(rgb) > 300},
        )
        for colour, rgb in COLOURS.items()
        for mark in range(2)
    ]  # fmt: skip


class Made:
    """The models, made once, and a `Served` of them as often as wanted."""

    def __init__(self) -> None:
        self.assistant = Assistant(model_of("llama"), precision="fp32")
        self.space, self.predictor = space(), predictor()

    def served(self, folder: Path, settings: Settings | None = None, filled: bool = True) -> Served:
        """Models "talker", "colours", "moods"; an index "squares" in a new folder, which holds `rows()` if filled."""
        colours = ServedSpace("colours", self.space, settings)
        Index.create(folder, self.space)
        squares = ServedIndex.open("squares", folder, colours, settings)
        models = {
            "talker": ServedAssistant("talker", self.assistant, settings),
            "colours": colours,
            "moods": ServedPredictor("moods", self.predictor, settings),
        }
        served = Served(models, {"squares": squares})
        if filled:
            asyncio.run(squares.add(rows()))
        return served
