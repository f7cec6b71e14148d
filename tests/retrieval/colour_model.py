"""A model of known answers, and the media it knows. Run as a script, it adds a folder to an index:

python colour_model.py INDEX MEDIA [seconds that embedding a chunk takes]
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

COLOURS = {
    "red": (230, 30, 30),
    "green": (30, 180, 60),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 40),
    "black": (10, 10, 10),
    "white": (245, 245, 245),
}


class ColourModel:
    """Pictures, clips and words by colour, sounds by their loudest pitch.

    The space has a place for each of six colours and ten for pitches from 100 to 1100 Hz.
    """

    modalities = ("text", "image", "audio", "video")
    width = 16

    def __init__(self, identity: str = "colours v1", seconds: float = 0.0) -> None:
        self.identity, self.seconds, self.source = identity, seconds, "colours"
        self.calls: list[tuple[str, int]] = []

    def embed(self, modality: str, media: list, progress: bool = False) -> np.ndarray:
        self.calls.append((modality, len(media)))
        time.sleep(self.seconds)
        vectors = np.stack([getattr(self, f"_{modality}")(m) for m in media]).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _image(self, picture: np.ndarray) -> np.ndarray:
        distances = [np.abs(picture.reshape(-1, 3).astype(float) - c).sum(1) for c in COLOURS.values()]
        share = np.bincount(np.argmin(distances, axis=0), minlength=6) / len(distances[0])
        return np.concatenate([share, np.zeros(10)])

    def _video(self, clip) -> np.ndarray:
        return np.mean([self._image(frame) for frame in clip.frames], axis=0)

    def _text(self, words: str) -> np.ndarray:
        said = [float(colour in words.lower()) for colour in COLOURS]
        digest = hashlib.sha256(words.encode()).digest()[:10]
        return np.concatenate([said, [1e-3 * b / 255 for b in digest]])

    def _audio(self, sound) -> np.ndarray:
        spectrum = np.abs(np.fft.rfft(sound.samples))
        pitch = np.argmax(spectrum) * sound.rate / len(sound.samples)
        return np.eye(16)[6 + int(np.clip((pitch - 100) // 100, 0, 9))]


def picture(path: Path, colour: str, speck: int = 0, size: int = 24) -> Path:
    """A picture of one colour; `speck` makes it differ from others of the same colour."""
    pixels = np.full((size, size, 3), COLOURS[colour], np.uint8)
    pixels[0, 0] = (speck % 256, speck // 256, 99)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def tone(path: Path, pitch: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * pitch * np.arange(8000) / 16000), 16000)
    return path


if __name__ == "__main__":
    from sensorium.retrieval.index import Index

    folder, media = sys.argv[1:3]
    slow = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    print(Index.create(folder, ColourModel(seconds=slow), exist_ok=True).add(media))
