"""`ServedIndex`: an index that many search while it grows.

query ──► the space's lane: its vector ──► the index's lane: nearest rows ──► Hits
rows  ──► the index's second lane: decoded, embedded some at a time by way of the space's lane, committed
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sensorium.data.sample import Sample
from sensorium.media import Source
from sensorium.retrieval.index import Added, Hit, Index
from sensorium.retrieval.query import unit
from sensorium.serving.batching import Gate, Lane, each_batch
from sensorium.serving.settings import Settings
from sensorium.serving.space import ServedSpace, ToEmbed, deadline_in

TOGETHER = 16  # rows of an add that are embedded at a time: searches come in between
Progress = Callable[[int, int], None]  # rows that are done, of how many


@dataclass(frozen=True)
class NewRow:
    """A thing to add to an index.

    media:   bytes as a Source, or words where the modality is text
    id:      by which it is found, deleted and shown; "" makes one from the content
    caption: words beside it, shown and not searched
    fields:  columns that searches can filter on
    """

    modality: str
    media: Source | str
    id: str = ""
    caption: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.media, Source) and self.media.data is None:
            raise ValueError("a row to add: got a path; expected bytes")

    def sample(self) -> Sample:
        content = self.media.data if isinstance(self.media, Source) else self.media.encode()
        assert content is not None
        id = self.id or f"{self.modality}-{hashlib.sha256(content).hexdigest()[:16]}"
        columns: dict[str, Any] = {"media": self.media}
        if self.caption:
            columns["caption"] = self.caption
        return Sample(id, columns, {"media": self.modality, "caption": "text"}, fields=dict(self.fields))


@dataclass(frozen=True)
class Query:
    """A job: vectors of what is asked, a vector given, a row's id; how many hits, and of which rows."""

    parts: Sequence[np.ndarray]
    vector: Any
    id: str | None
    top_k: int
    where: str | None
    modality: str | tuple[str, ...] | None

    def answer(self, hits: list[Hit]) -> list[Hit]:
        """Without the row that is asked about, and no more than wanted."""
        return [hit for hit in hits if self.id is None or hit.id != self.id][: self.top_k]


class ByLane:
    """The model of an index that grows: it embeds by way of its space's lane, some at a time.

    progress: called with how many were embedded, where an add wants to know
    """

    def __init__(self, space: ServedSpace) -> None:
        self.space = space
        self.modalities, self.width = space.modalities, space.width
        self.identity, self.source = space.identity, space.space.source
        self.progress: Callable[[int], None] = lambda number: None

    def embed(self, modality: str, media: list[Any], progress: bool = False) -> np.ndarray:
        vectors = []
        for start in range(0, len(media), TOGETHER):
            some = media[start : start + TOGETHER]
            ticket = self.space.lane.put(ToEmbed(modality, some), rows=len(some), even_if_full=True)
            vectors.append(ticket.result.result().vectors)
            self.progress(len(some))
        return np.concatenate(vectors)


class ServedIndex:
    """An `Index` whose searches and additions stand in lanes of their own.

    index: opened with a `ByLane` of its space
    """

    task = "search"

    def __init__(
        self,
        name: str,
        index: Index,
        space: ServedSpace,
        settings: Settings | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.name, self.index, self.space = name, index, space
        self.settings = settings or Settings()
        self.gate = gate or Gate()
        self.modalities = space.modalities
        self.lane = Lane(
            name, each_batch(self._found), self.settings.batch, self.settings.wait, self.settings.queue
        )
        self.changes = Lane(f"{name} changes", each_batch(self._changed), 1, 0.0, self.settings.queue)

    @classmethod
    def open(
        cls,
        name: str,
        folder: Any,
        space: ServedSpace,
        settings: Settings | None = None,
        gate: Gate | None = None,
    ) -> ServedIndex:
        """Raises ValueError when there is no index, or one that another model made."""
        return cls(name, Index.open(folder, ByLane(space)), space, settings, gate)

    async def search(
        self,
        *,
        text: str | None = None,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
        vector: Sequence[float] | np.ndarray | None = None,
        id: str | None = None,
        top_k: int = 10,
        where: str | None = None,
        modality: str | Sequence[str] | None = None,
        seconds: float | None = None,
    ) -> list[Hit]:
        """The nearest rows, best first; several queries at once are averaged as unit vectors.

        image, audio, video: `Source`s or decoded media
        id:     a row of the index: what is near it, without itself
        others: as `Index.search`

        Raises ValueError (an unknown id, a filter that cannot be read …), MediaError, Full, Late, Draining.
        """
        if top_k < 1:
            raise ValueError(f"top_k: got {top_k}; expected at least 1")
        with self.gate:
            deadline = deadline_in(seconds)
            asked = {"text": text, "image": image, "audio": audio, "video": video}
            given = [(name, item) for name, item in asked.items() if item is not None]
            parts = [(await self.space.vectors(name, [item], deadline))[0] for name, item in given]
            several = modality if modality is None or isinstance(modality, str) else tuple(modality)
            query = Query(parts, vector, id, top_k, where, several)
            found: list[Hit] = await self.lane.submit(query, deadline)
        return found

    async def add(self, rows: Sequence[NewRow], progress: Progress | None = None) -> Added:
        """Embed and add what is not there yet; returns when it can be found. Searches go on meanwhile.

        progress: called in another thread with the rows done and their number. Bad media is left out, and the
                  result's `reasons` say why
        """
        with self.gate:
            added: Added = await self.changes.submit(("add", list(rows), progress))
        return added

    async def delete(self, ids: Sequence[str]) -> int:
        """How many rows of these ids there were; they are gone."""
        with self.gate:
            deleted: int = await self.changes.submit(("delete", list(ids), None))
        return deleted

    def stats(self) -> dict[str, Any]:
        """As `Index.stats`. Reads the disk: call it in a thread."""
        return self.index.stats()

    def thumbnail(self, id: str) -> bytes | None:
        """A row's JPEG; None when there is no such row, or it is no picture. Reads the disk: call it in a thread."""
        row = self.index.row(id, ["thumbnail"])
        return row["thumbnail"] if row else None

    # ---- in the lanes' threads ------------------------------------------------------------------------------

    def _found(self, jobs: Sequence[Query]) -> list[Any]:
        """Hits a job, or what is wrong with it; queries that ask for the same rows go through the table at once."""
        results: list[Any] = [None] * len(jobs)
        alike: dict[Any, list[tuple[int, np.ndarray]]] = {}
        for place, job in enumerate(jobs):
            try:
                vector = self._direction(job)
            except ValueError as error:
                results[place] = error
                continue
            alike.setdefault((job.where, job.modality), []).append((place, vector))
        for (where, modality), some in alike.items():
            vectors = np.stack([vector for _, vector in some])
            most = max(jobs[place].top_k + (jobs[place].id is not None) for place, _ in some)
            try:
                found: list[Any] = self.index.search_many(vectors, where, most, modality)
            except ValueError as error:
                found = [error] * len(some)
            for (place, _), hits in zip(some, found, strict=True):
                results[place] = hits if isinstance(hits, ValueError) else jobs[place].answer(hits)
        return results

    def _direction(self, job: Query) -> np.ndarray:
        """Of the sum of all that a query asks for, unit float32[width]."""
        parts = list(job.parts)
        if job.vector is not None:
            given = np.asarray(job.vector, np.float32)
            if given.shape != (self.space.width,) or not np.isfinite(given).all():
                raise ValueError(
                    f"vector: got shape {given.shape}; expected finite float[{self.space.width}]"
                )
            parts.append(unit(given))
        if job.id is not None:
            row = self.index.row(job.id, ["vector"])
            if row is None:
                raise ValueError(f"id: got {job.id!r}; {self.name} has no such row")
            parts.append(np.asarray(row["vector"], np.float32))
        if not parts:
            raise ValueError("search: got no query; expected one of text, image, audio, video, vector, id")
        return unit(np.sum(parts, axis=0))

    def _changed(self, jobs: Sequence[tuple[str, list[Any], Progress | None]]) -> list[Any]:
        [(what, given, progress)] = jobs
        if what == "delete":
            return [self.index.delete(given)]
        model: Any = self.index.model
        done = 0

        def embedded(number: int) -> None:
            nonlocal done
            done += number
            if progress is not None:
                progress(done, len(given))

        model.progress = embedded
        added = self.index.add(
            [row.sample() for row in given],
            columns=["media"],
            limits=self.settings.media,
            limit_share=1.0,
            progress=False,
        )
        if progress is not None and done < len(given):
            progress(len(given), len(given))
        return [added]
