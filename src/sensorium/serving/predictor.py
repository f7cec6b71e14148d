"""`ServedPredictor`: a fusion network that many ask at once.

rows of many requests ──► decoded ──► one batch ──► Predictions ──► each request's own
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.facade import Prediction, Predictor
from sensorium.media import MediaError, Source
from sensorium.serving.batching import Gate, Lane, each_batch
from sensorium.serving.opening import opened
from sensorium.serving.settings import Settings
from sensorium.serving.space import deadline_in

Row = Mapping[str, Source | str | None]


class ServedPredictor:
    """A `Predictor` behind a lane. columns: modality by column, what a row may have; tasks: what it answers."""

    task = "classification"

    def __init__(
        self, name: str, predictor: Predictor, settings: Settings | None = None, gate: Gate | None = None
    ) -> None:
        self.name, self.predictor = name, predictor
        self.settings = settings or Settings()
        self.gate = gate or Gate()
        self.columns, self.tasks = predictor.columns, predictor.tasks
        self.modalities = tuple(dict.fromkeys(predictor.columns.values()))
        self.lane = Lane(
            name, each_batch(self._predicted), self.settings.batch, self.settings.wait, self.settings.queue
        )

    async def predict(self, rows: Sequence[Row], *, seconds: float | None = None) -> list[Prediction]:
        """A prediction a row, in their order. A column that is missing or None is not there.

        Raises ValueError for a row without any of the model's columns or with another, MediaError for media that
        cannot be decoded, Full, Late, Draining.
        """
        if not rows:
            return []
        with self.gate:
            found: list[Prediction] = await self.lane.submit(list(rows), deadline_in(seconds), rows=len(rows))
        return found

    def _predicted(self, jobs: Sequence[Sequence[Row]]) -> list[Any]:
        results: list[Any] = []
        rows: list[Mapping[str, Any]] = []
        for job in jobs:
            try:
                decoded = [self._decoded(row) for row in job]
            except MediaError as error:
                results.append(error)
                continue
            results.append(range(len(rows), len(rows) + len(job)))
            rows += decoded
        found = self.predictor.predict(rows) if rows else []
        return [
            [found[place] for place in result] if isinstance(result, range) else result for result in results
        ]

    def _decoded(self, row: Row) -> dict[str, Any]:
        return {
            name: None if item is None else opened(item, self.settings.media) for name, item in row.items()
        }
