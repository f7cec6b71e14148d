"""Additions to indexes that go on after their request was answered, and how far each is.

await start(index, rows) ──► Job(running) ──► Job(done | failed)
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sensorium.media import Source
from sensorium.retrieval.index import Added
from sensorium.serving.errors import api_error, too_much
from sensorium.serving.served import NewRow, ServedIndex

REMEMBERED = 1000  # jobs that have ended


@dataclass
class Job:
    """One addition. done: of total rows; bytes: of its media; result: once it is done; error: why it failed."""

    id: str
    index: str
    total: int
    bytes: int
    done: int = 0
    state: Literal["running", "done", "failed"] = "running"
    result: Added | None = None
    error: str | None = None


class Jobs:
    """The additions of one server, by id. Those that ended long ago are forgotten.

    most_bytes: of media that all which wait may hold
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._jobs: dict[str, Job] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def start(self, index: ServedIndex, rows: Sequence[NewRow]) -> Job:
        """Begin; returns as soon as it stands in the index's queue. Raises what that raises (Full, Draining), and
        ApiError 429 when those that wait hold too much."""
        job = Job(f"job_{uuid.uuid4().hex}", index.name, len(rows), sum(map(_bytes, rows)))
        held = sum(one.bytes for one in self._jobs.values() if one.state == "running")
        if held + job.bytes > self.most_bytes:
            raise too_much()
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run(job, index, rows, accepted))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # The task's first step puts the rows in the queue or raises; this, called after it, sees which.
        asyncio.get_running_loop().call_soon(_settle, accepted)
        await accepted
        for old in [one.id for one in self._jobs.values() if one.state != "running"][:-REMEMBERED]:
            del self._jobs[old]
        self._jobs[job.id] = job
        return job

    def get(self, id: str) -> Job | None:
        """The job of an id."""
        return self._jobs.get(id)

    async def finish(self) -> None:
        """Wait until all that was started has ended."""
        while self._running:
            await asyncio.wait(self._running)

    async def _run(
        self, job: Job, index: ServedIndex, rows: Sequence[NewRow], accepted: asyncio.Future[None]
    ) -> None:
        def progress(done: int, total: int) -> None:
            job.done = done

        try:
            job.result = await index.add(rows, progress)
            job.done, job.state = job.total, "done"
        except Exception as error:  # noqa: BLE001 - told to the request, or to who asks for the job
            if not accepted.done():
                accepted.set_exception(error)
                return
            job.state, job.error = "failed", api_error(error).message


def _bytes(row: NewRow) -> int:
    return len(row.media.data or b"") if isinstance(row.media, Source) else len(row.media)


def _settle(accepted: asyncio.Future[None]) -> None:
    if not accepted.done():
        accepted.set_result(None)
