"""The bundled emoji as pictures to pretrain on, and what an encoder learned from them: which group a drawing is of.

encoder's preparation -> Pictures of four artists, Pictures of the unseen artist -> GroupProbe -> scores
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium import speed
from sensorium.data import bundled
from sensorium.data.augment import Pictures
from sensorium.data.sample import Sample
from sensorium.evaluation.generated import GeneratedScore
from sensorium.evaluation.probes import Probe, Vectors, probes
from sensorium.media import Source

ROWS = 256  # pictures encoded at a time
FITTED = 2000  # training pictures that a probe is fitted on, evenly spread: it takes seconds
GROUPS = (
    "activities",
    "animals-nature",
    "food-drink",
    "objects",
    "people-body",
    "smileys-emotion",
    "symbols",
    "travel-places",
)
DATA_CARD = (
    "{pictures} drawings of emoji by four artists (datasets/emoji, licences of the artists). Tested on {tested} "
    "drawings of the same things by an artist that was never seen."
)


def emoji_pictures(encoder: Any, limit: int | None = None) -> tuple[Pictures, Pictures]:
    """As the encoder prepares them: the train split by four artists, and the same things by the unseen artist.

    limit: so many of each, evenly spread
    """
    drawings = bundled.emoji("train")
    sides = (
        [d for d in drawings if (d.fields["artist"] == bundled.UNSEEN_ARTIST) == unseen] for unseen in (0, 1)
    )
    train, test = (prepared(encoder, side, limit) for side in sides)
    return train, test


def prepared(encoder: Any, samples: Sequence[Sample], limit: int | None = None) -> Pictures:
    """Decoded and prepared once, uint8 in memory (64 × 64 pixels: 12 KB each). limit: so many, evenly spread."""
    if limit is not None:
        samples = samples[:: max(1, len(samples) // limit)][:limit]
    parts = []
    for start in range(0, len(samples), ROWS):
        sources = [sample.columns["image"] for sample in samples[start : start + ROWS]]
        media = [source.decode() for source in sources if isinstance(source, Source)]
        parts.append(encoder.prepare(media)["pixels"])
    fields = {name: [sample.fields[name] for sample in samples] for name in ("group", "thing", "artist")}
    return Pictures([sample.id for sample in samples], torch.cat(parts), fields)


class GroupProbe:
    """An encoder -> how well the group of a drawing can be read off its vectors, beside the same encoder untrained.

    encoder: as it is before training (a copy is kept)
    train, test: pictures with a field "group"; the probes are fitted on `FITTED` of the first, evenly spread, and
                 tested on the second
    """

    def __init__(self, encoder: Any, train: Pictures, test: Pictures) -> None:
        self.before, self.train, self.test = deepcopy(encoder), train.some(FITTED), test

    def scores(
        self, encoder: Any, kinds: Sequence[Probe] = ("linear", "nearest")
    ) -> dict[str, GeneratedScore]:
        """{"emoji.unseen_artist.linear.accuracy": …, see `evaluation.probes.probes`}."""
        found = probes(
            self._vectors(encoder),
            self._untrained,
            self.train.fields["group"],
            self.test.fields["group"],
            kinds=kinds,
        )
        return {f"emoji.unseen_artist.{name}": score for name, score in found.items()}

    @cached_property
    def _untrained(self) -> Vectors:
        return self._vectors(self.before)

    def _vectors(self, encoder: Any) -> Vectors:
        return Vectors(vectors(encoder, self.train.pixels), vectors(encoder, self.test.pixels))


def vectors(encoder: Any, pixels: Tensor) -> np.ndarray:
    """float32[N, D]: the pooled vectors of prepared pictures, in evaluation mode."""
    training = encoder.training
    encoder.eval()
    device = next(encoder.parameters()).device
    fast = speed.inference_dtype(device) == torch.bfloat16
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=fast):
        found = [
            encoder({"pixels": pixels[start : start + ROWS].to(device)}).pooled.float().cpu()
            for start in range(0, len(pixels), ROWS)
        ]
    encoder.train(training)
    return torch.cat(found).numpy()
