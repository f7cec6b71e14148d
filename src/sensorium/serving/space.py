"""`ServedSpace`: a joint embedding that many ask at once.

items of many requests ──► decoded ──► one batch a modality ──► unit vectors ──► each request's own
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.facade import SharedSpace
from sensorium.media import Audio, Media, MediaError, Source
from sensorium.models.zero_shot import ZeroShotClassifier
from sensorium.serving.batching import Gate, Lane, each_batch
from sensorium.serving.opening import opened, portions
from sensorium.serving.settings import Settings

CLASSIFIERS = 32  # sets of labels whose vectors are remembered
BLANK: dict[str, Media] = {
    "text": "blank",
    "image": np.zeros((8, 8, 3), np.uint8),
    "audio": Audio(np.zeros(16_000, np.float32), 16_000),
}


def deadline_in(seconds: float | None) -> float | None:
    """Seconds from now -> the time that lanes mean."""
    return None if seconds is None else time.monotonic() + seconds


@dataclass(frozen=True)
class ToEmbed:
    """A job. counts: whether the tokens of its texts are wanted"""

    modality: str
    items: list[Source | str]
    counts: bool = False


@dataclass(frozen=True)
class Embedded:
    """vectors: float32[N, D] of unit length; tokens: of texts, as the model reads them, where they were counted"""

    vectors: np.ndarray
    tokens: int = 0


class ServedSpace:
    """A `SharedSpace` behind a lane.

    modalities: what it embeds; width: D of its vectors; identity: changes when any weight does
    """

    task = "embedding"

    def __init__(
        self, name: str, space: SharedSpace, settings: Settings | None = None, gate: Gate | None = None
    ) -> None:
        self.name, self.space = name, space
        self.settings = settings or Settings()
        self.gate = gate or Gate()
        self.modalities, self.width = space.modalities, space.width
        self.columns, self.identity = dict(space.column_of), space.identity
        self.lane = Lane(
            name,
            each_batch(self._embedded),
            self.settings.batch,
            self.settings.wait,
            self.settings.queue,
        )
        self._classifiers: dict[tuple[tuple[str, ...], tuple[str, ...]], ZeroShotClassifier] = {}

    def warm(self) -> None:
        """Embed a blank of each modality, so that the copies which compute are made before anybody asks."""
        for modality in self.modalities:
            if modality in BLANK:
                self.space.embed(modality, [BLANK[modality]])

    async def embed(
        self, modality: str, items: Sequence[Source | str], *, seconds: float | None = None
    ) -> np.ndarray:
        """N things of one modality -> float32[N, D] of unit length, in their order.

        Whoever else is in the batch changes them by the order of sums: 1e-6 in float32. Where the machine computes
        in bfloat16, padding moves short texts by up to 2e-3 (cosine 0.9999), as in `SharedSpace.embed`.

        seconds: until it is given up

        Raises ValueError for a modality that the model lacks, MediaError for media that cannot be decoded, Full, Late,
        Draining.
        """
        return (await self.counted(modality, items, seconds=seconds)).vectors

    async def counted(
        self, modality: str, items: Sequence[Source | str], *, seconds: float | None = None
    ) -> Embedded:
        """As `embed`, with the tokens of texts."""
        with self.gate:
            return await self._submitted(modality, items, deadline_in(seconds), counts=modality == "text")

    async def vectors(
        self, modality: str, items: Sequence[Source | str], deadline: float | None
    ) -> np.ndarray:
        """As `embed`, for who has passed the gate already. deadline: as `time.monotonic` counts"""
        return (await self._submitted(modality, items, deadline)).vectors

    async def _submitted(
        self, modality: str, items: Sequence[Source | str], deadline: float | None, counts: bool = False
    ) -> Embedded:
        if modality not in self.modalities:
            raise ValueError(f"{self.name} embeds {', '.join(self.modalities)}; got {modality!r}")
        if not items:
            return Embedded(np.zeros((0, self.width), np.float32))
        job = ToEmbed(modality, list(items), counts)
        found: Embedded = await self.lane.submit(job, deadline, rows=len(items))
        return found

    async def classify(
        self,
        modality: str,
        items: Sequence[Source | str],
        labels: Sequence[str],
        templates: Sequence[str] = ("{}",),
        *,
        seconds: float | None = None,
    ) -> np.ndarray:
        """N things and L labels in words -> probabilities float32[N, L], rows of sum 1 (see `SharedSpace.classify`)."""
        with self.gate:
            deadline = deadline_in(seconds)
            classifier = await self._classifier(tuple(labels), tuple(templates), deadline)
            vectors = await self.vectors(modality, items, deadline)
        return classifier.probabilities(vectors, self.space.model.scale().item())

    async def _classifier(
        self, labels: tuple[str, ...], templates: tuple[str, ...], deadline: float | None
    ) -> ZeroShotClassifier:
        key = (labels, templates)
        if key not in self._classifiers:
            asked: list[str] = []
            # Made twice: to learn which prompts to embed (and whether they are well formed), then with their vectors.
            ZeroShotClassifier(lambda texts: _noted(asked, texts, self.width), labels, templates)
            vectors = await self.vectors("text", asked, deadline)
            self._classifiers[key] = ZeroShotClassifier(lambda texts: vectors, labels, templates)
            while len(self._classifiers) > CLASSIFIERS:
                del self._classifiers[next(iter(self._classifiers))]
        return self._classifiers[key]

    def _embedded(self, jobs: Sequence[ToEmbed]) -> list[Any]:
        """A result a job: Embedded, or the MediaError of the one whose media cannot be decoded."""
        results: list[Any] = [None] * len(jobs)
        vectors: dict[int, list[np.ndarray]] = {n: [] for n in range(len(jobs))}
        for modality in dict.fromkeys(job.modality for job in jobs):
            owners: list[int] = []

            def media(modality: str = modality, owners: list[int] = owners) -> Any:
                for n, job in enumerate(jobs):
                    if job.modality != modality:
                        continue
                    try:
                        for item in job.items:
                            medium = opened(item, self.settings.media)
                            owners.append(n)
                            yield medium
                    except MediaError as error:
                        results[n] = error

            done = 0
            for portion in portions(media()):
                found = self.space.embed(modality, portion, batch_size=self.settings.batch)
                for vector in found:
                    vectors[owners[done]].append(vector)
                    done += 1
        tokens = self._tokens(jobs)
        return [
            Embedded(np.stack(vectors[n]), tokens[n]) if result is None else result
            for n, result in enumerate(results)
        ]

    def _tokens(self, jobs: Sequence[ToEmbed]) -> list[int]:
        """Of each job's texts, where they are to be counted. What the model cuts off does not count."""
        texts = [text for job in jobs if job.counts for text in job.items]
        if not texts:
            return [0] * len(jobs)
        encoder: Any = self.space.model.encoders[self.columns["text"]]
        counts = iter(encoder.token_counts(texts))
        return [sum(itertools.islice(counts, len(job.items))) if job.counts else 0 for job in jobs]


def _noted(asked: list[str], texts: list[str], width: int) -> np.ndarray:
    asked.extend(texts)
    return np.ones((len(texts), width), np.float32)
