"""`SharedSpace`: a joint embedding, or one encoder, ready to embed, compare, classify and index media with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium.encoders.video import FrameEncoder
from sensorium.media import Media, Source
from sensorium.models.joint_embedding import JointEmbedding

Given = Media | Source | str | os.PathLike


class SharedSpace:
    """A trained `JointEmbedding`, ready to use: media in, unit vectors of one space out.

    An encoder that was pretrained alone (MAE, SimCLR, ViT, BERT …) is a space of its one modality: it searches like
    by like.

    modalities: what it embeds, clips too (through their frames); width: D of its vectors
    identity:   changes when any weight does
    """

    def __init__(self, model: JointEmbedding, source: str = "") -> None:
        self.model = model.eval()
        self.source = source
        # A modality that has several columns is embedded by the first of them.
        self.column_of = {modality: column for column, modality in reversed(model.modality.items())}
        modalities = dict.fromkeys(model.modality.values())
        if "image" in modalities:  # without an encoder for clips, a clip is the mean of its frames
            modalities["video"] = None
        self.modalities = tuple(modalities)
        self.width = model.width

    @property
    def identity(self) -> str:
        digest = hashlib.sha256()
        for column in self.model.columns:
            digest.update(f"{column} {self.model.encoders[column].identity}".encode())
        for name, tensor in self.model.heads.state_dict().items():
            digest.update(name.encode() + tensor.detach().float().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def embed(
        self, modality: str, media: Sequence[Given], progress: bool = False, batch_size: int = 32
    ) -> np.ndarray:
        """N media of one modality -> float32[N, D] of unit length, in the order given.

        media: decoded media, `Source`s, or paths (a `str` is words when the modality is text, else a path)
        Raises `MediaError` for media that cannot be decoded, ValueError for a modality the model lacks.
        """
        if modality not in self.modalities:
            raise ValueError(f"this model embeds {', '.join(self.modalities)}; got {modality!r}")
        ready = [decoded(modality, item) for item in media]
        frames = modality not in self.column_of
        column = self.column_of["image" if frames else modality]
        encoder: Any = self.model.encoders[column]
        if frames:
            encoder, batch_size = FrameEncoder(encoder), max(1, batch_size // 8)  # a clip is some 8 pictures
        features = encoder.encode(ready, batch_size=batch_size, progress=progress, what="pooled")
        with torch.no_grad():
            return self.model.embed(column, features).numpy()

    def similarity(self, a: tuple[str, Sequence[Given]], b: tuple[str, Sequence[Given]]) -> np.ndarray:
        """Cosines, float32[N, M], of N media of one modality with M of another: `("text", […]), ("image", […])`."""
        return self.embed(*a) @ self.embed(*b).T

    def classify(
        self,
        modality: str,
        media: Sequence[Given],
        labels: Sequence[str],
        templates: Sequence[str] = ("{}",),
    ) -> list[Mapping[str, float]]:
        """Zero-shot: a probability for each label, for each of the media, from the labels' words alone.

        A label is the mean of its prompts' vectors (Radford et al. 2021, §3.1.4).
        """
        from sensorium.models.zero_shot import ZeroShotClassifier

        classifier = ZeroShotClassifier(lambda texts: self.embed("text", texts), labels, templates)
        probabilities = classifier.probabilities(self.embed(modality, media), self.model.scale().item())
        return [dict(zip(labels, row.tolist(), strict=True)) for row in probabilities]


def decoded(modality: str, item: Given) -> Media:
    """A path, a `Source` or what is decoded already -> decoded. A `str` is words where the modality is text."""
    if isinstance(item, Source):
        return item.decode()
    if isinstance(item, os.PathLike) or (isinstance(item, str) and modality != "text"):
        return Source(modality, path=Path(item)).decode()
    return item
