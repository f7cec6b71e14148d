"""`Lane`: the queue of one model, from which one thread takes what has gathered and computes it together.

await submit(job) ──► bounded queue ──► take(): up to `most` rows, `wait` seconds after the first ──► work ──► result
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any

MEMORY = 0.8  # of the mean seconds a job takes: how much of it stays when jobs are finished


class Full(Exception):
    """The queue is full. retry_after: seconds after which there is likely room, by how fast it went lately."""

    def __init__(self, name: str, waiting: int, retry_after: float) -> None:
        super().__init__(
            f"{name}: {waiting} requests are waiting already; come again in {math.ceil(retry_after)} s"
        )
        self.retry_after = retry_after


class Late(Exception):
    """A job's deadline passed before it was done."""


class Draining(Exception):
    """The server is being stopped: what it accepted it finishes, and it accepts nothing new."""


@dataclass
class Statistics:
    """What a lane has done since it was opened.

    jobs:      that were computed; rows: that they had together; batches: that these were computed in
    full:      jobs that were refused since the queue was full; late: given up at their deadline;
    left:      dropped since nobody waited for them any more
    waited:    seconds that the computed jobs stood in the queue, summed
    busy:      seconds that the thread worked
    """

    jobs: int = 0
    rows: int = 0
    batches: int = 0
    full: int = 0
    late: int = 0
    left: int = 0
    waited: float = 0.0
    busy: float = 0.0


class Ticket:
    """A job in a lane, and who waits for it.

    rows:     how many rows of a batch it takes
    deadline: time (`time.monotonic`) after which nobody wants it; None: never
    gone:     whether who waited has left
    """

    def __init__(self, job: Any, rows: int, deadline: float | None) -> None:
        self.job, self.rows, self.deadline = job, rows, deadline
        self.since = time.monotonic()
        self.gone = False
        self.result: Future[Any] = Future()

    @property
    def late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def settle(self, value: Any) -> None:
        """Hand over a result, or an exception to raise. Once; who has left gets nothing."""
        if self.gone:
            return
        with contextlib.suppress(InvalidStateError):  # settled already, or cancelled by who waited
            if isinstance(value, BaseException):
                self.result.set_exception(value)
            else:
                self.result.set_result(value)


class Gate:
    """Counts the requests that are being answered; once closed, it lets no other in.

    A request may need several lanes: what has entered finds them open until it leaves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._closed = False
        self._empty: Future[None] = Future()

    def __enter__(self) -> None:
        with self._lock:
            if self._closed:
                raise Draining("the server is being stopped")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._closed and not self._inside:
                self._empty.set_result(None)

    async def close(self) -> None:
        """Let nobody in any more; returns when nobody is inside."""
        with self._lock:
            if not self._closed and not self._inside:
                self._empty.set_result(None)
            self._closed = True
        await asyncio.shield(asyncio.wrap_future(self._empty))


Work = Callable[[list[Ticket], Callable[[int], list[Ticket]]], None]


class Lane:
    """One model's queue and the one thread that computes for it; event loops never do.

        lane = Lane("clip", each_batch(lambda jobs: [...one result a job, or an exception...]))
        vector = await lane.submit("a red fish", deadline=time.monotonic() + 10)

    When the thread is free, it waits up to `wait` seconds after the first job for others. What came while it was
    busy goes together at once.

    work:  called in the thread with the tickets of a batch, which it settles. It may ask for more of them while it
           works: its second argument gives up to so many rows that wait now
    most:  rows of a batch; a job that has more goes alone
    wait:  seconds, the latency budget
    queue: jobs that may wait; for one more `submit` raises Full
    """

    def __init__(self, name: str, work: Work, most: int = 32, wait: float = 0.005, queue: int = 64) -> None:
        self.name, self.work = name, work
        self.most, self.wait, self.queue = most, wait, queue
        self.statistics = Statistics()
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._draining = False
        self._in_work: list[Ticket] = []
        self._noted = self._stretch = self._seconds_a_job = 0.0
        self._ended: Future[None] = Future()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._waiting)

    # ---- for those who ask ----------------------------------------------------------------------------------

    async def submit(self, job: Any, deadline: float | None = None, rows: int = 1) -> Any:
        """The job's result. A task that is cancelled while it waits takes its job along.

        deadline: as `time.monotonic` counts; None: whenever

        Raises Full, Late or Draining, and whatever the work raised for this job.
        """
        ticket = self.put(job, deadline, rows)
        future = asyncio.wrap_future(ticket.result)
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            await asyncio.wait([future], timeout=left)
        except asyncio.CancelledError:
            self.leave(ticket)
            future.cancel()
            raise
        if not future.done():
            late = self.give_up(ticket)
            future.cancel()
            raise late
        return future.result()

    def put(
        self, job: Any, deadline: float | None = None, rows: int = 1, even_if_full: bool = False
    ) -> Ticket:
        """Put a job in the queue, from any thread; its ticket's `result` is a future. Raises Full or Draining.

        even_if_full: for work that has been accepted elsewhere already
        """
        ticket = Ticket(job, rows, deadline)
        with self._changed:
            if self._draining:
                raise Draining(f"{self.name} is being stopped")
            if len(self._waiting) >= self.queue and not even_if_full:
                self.statistics.full += 1
                raise Full(self.name, len(self._waiting), self.retry_after())
            self._waiting.append(ticket)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"lane {self.name}", daemon=True)
                self._thread.start()
            # In between it waits out its budget: a change of threads for each job would cost more than many a job.
            if len(self._waiting) == 1 or self._full():
                self._changed.notify()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Nobody waits for this one any more: it is taken out of the queue, or its work told to stop."""
        if self._let_go(ticket):
            self.statistics.left += 1

    def give_up(self, ticket: Ticket) -> Late:
        """As `leave`, since its deadline has passed; returns what to raise."""
        if self._let_go(ticket):
            self.statistics.late += 1
        return Late(f"{self.name}: the deadline passed before the answer was there")

    def _let_go(self, ticket: Ticket) -> bool:
        with self._changed:
            if ticket.gone or ticket.result.done():
                return False
            ticket.gone = True
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                self._changed.notify()
            return True

    def retry_after(self) -> float:
        """Seconds in which as many jobs as wait now are likely done, at least one."""
        return max(1.0, self._seconds_a_job * len(self._waiting))

    async def drain(self) -> None:
        """Accept nothing more, finish what was accepted, end the thread."""
        with self._changed:
            self._draining = True
            if self._thread is None and not self._ended.done():
                self._ended.set_result(None)
            self._changed.notify()
        await asyncio.shield(asyncio.wrap_future(self._ended))

    # ---- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while tickets := self._gathered():
            try:
                self.work(tickets, self._more)
                error: BaseException = RuntimeError(f"{self.name}: this job was left without a result")
            except BaseException as raised:  # noqa: BLE001 — raised again where each of them waits
                error = raised
            for ticket in self._in_work:
                ticket.settle(error)
            self._note()
        self._ended.set_result(None)

    def _note(self) -> None:
        """How fast it goes: the seconds since something was finished, for each job that is finished now."""
        now = time.monotonic()
        self.statistics.busy += now - self._noted
        self._stretch += now - self._noted
        self._noted = now
        going = [one for one in self._in_work if not (one.gone or one.result.done())]
        if finished := len(self._in_work) - len(going):
            each = self._stretch / finished
            self._seconds_a_job = MEMORY * (self._seconds_a_job or each) + (1 - MEMORY) * each
            self._stretch = 0.0
        self._in_work = going

    def _gathered(self) -> list[Ticket]:
        """The next batch, as soon as there is one; none when the lane was drained."""
        with self._changed:
            self._in_work = []
            while True:
                self._drop_late()
                if not self._waiting:
                    if self._draining:
                        return []
                    self._changed.wait()
                    continue
                left = self._waiting[0].since + self.wait - time.monotonic()
                if left <= 0 or self._draining or self._full():
                    self.statistics.batches += 1
                    self._noted, self._stretch = time.monotonic(), 0.0
                    return self._taken(self.most, whatever_fits=False)
                self._changed.wait(left)

    def _full(self) -> bool:
        """Whether a batch's worth of rows waits."""
        return sum(one.rows for one in self._waiting) >= self.most

    def _more(self, rows: int) -> list[Ticket]:
        with self._changed:
            self._note()
            self._drop_late()
            return self._taken(rows, whatever_fits=True)

    def _taken(self, rows: int, whatever_fits: bool) -> list[Ticket]:
        """In their order, up to so many rows. The first goes however many it has, unless it must fit."""
        taken: list[Ticket] = []
        while self._waiting and (self._waiting[0].rows <= rows or not (taken or whatever_fits)):
            ticket = self._waiting.popleft()
            taken.append(ticket)
            rows -= ticket.rows
            self.statistics.jobs += 1
            self.statistics.rows += ticket.rows
            self.statistics.waited += time.monotonic() - ticket.since
        self._in_work += taken
        return taken

    def _drop_late(self) -> None:
        for ticket in [one for one in self._waiting if one.late]:
            self._waiting.remove(ticket)
            self.statistics.late += 1
            ticket.settle(Late(f"{self.name}: the deadline passed while the request was waiting"))


def each_batch(run: Callable[[list[Any]], Sequence[Any]]) -> Work:
    """The work of a lane whose batches are computed at one go.

    run: jobs -> a result each, or an exception for the one that it concerns. Where it raises, its jobs are computed
         once more one by one, so that one of them cannot fail the others
    """

    def work(tickets: list[Ticket], more: Callable[[int], list[Ticket]]) -> None:
        wanted = [ticket for ticket in tickets if not ticket.gone]
        try:
            results = run([ticket.job for ticket in wanted]) if wanted else []
        except Exception as error:  # noqa: BLE001 — raised again where it is waited for
            if len(wanted) == 1:
                wanted[0].settle(error)
                return
            for ticket in wanted:
                work([ticket], more)
            return
        for ticket, result in zip(wanted, results, strict=True):
            ticket.settle(result)

    return work
