"""Lanes: what gathers goes together, what is late or left is dropped, what was accepted is finished."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from sensorium.serving.batching import Draining, Full, Gate, Lane, Late, each_batch


class Held:
    """Work that doubles numbers once it is let go, and notes the batches that it gets."""

    def __init__(self) -> None:
        self.batches: list[list] = []
        self.let_go, self.begun = threading.Event(), threading.Event()

    def __call__(self, jobs: list) -> list:
        self.batches.append(jobs)
        self.begun.set()
        assert self.let_go.wait(10)
        return [2 * job for job in jobs]


@pytest.fixture
def held() -> Held:
    return Held()


async def begun(held: Held) -> None:
    assert await asyncio.to_thread(held.begun.wait, 10)


def test_what_comes_within_the_budget_goes_together(held):
    held.let_go.set()
    lane = Lane("numbers", each_batch(held), most=8, wait=60)  # that a full batch does not wait for

    async def asked() -> list:
        first = asyncio.create_task(lane.submit(1))
        await asyncio.sleep(0.05)
        return await asyncio.gather(first, *(lane.submit(n) for n in range(2, 9)))

    assert asyncio.run(asked()) == [2, 4, 6, 8, 10, 12, 14, 16]
    assert held.batches == [[1, 2, 3, 4, 5, 6, 7, 8]]
    assert (lane.statistics.batches, lane.statistics.jobs, lane.statistics.rows) == (1, 8, 8)


def test_the_thread_is_woken_by_the_first_and_by_the_last_of_a_batch(monkeypatch):
    lane = Lane("rows", each_batch(lambda jobs: jobs), most=5, wait=60.0)
    woken, notify = [], lane._changed.notify
    monkeypatch.setattr(lane._changed, "notify", lambda: woken.append(lane.waiting) or notify())

    async def ask():
        return await asyncio.gather(*(lane.submit(n, rows=rows) for n, rows in enumerate((1, 1, 1, 2))))

    assert asyncio.run(ask()) == [0, 1, 2, 3]
    assert woken == [1, 4]


def test_what_comes_while_the_thread_works_goes_together_by_rows(held):
    lane = Lane("numbers", each_batch(held), most=4, wait=0.0)

    async def asked() -> list:
        first = asyncio.create_task(lane.submit(1))
        await begun(held)
        rest = [
            asyncio.create_task(lane.submit(n, rows=rows)) for n, rows in ((2, 2), (3, 2), (4, 9), (5, 1))
        ]
        await asyncio.sleep(0)
        held.let_go.set()
        return await asyncio.gather(first, *rest)

    assert asyncio.run(asked()) == [2, 4, 6, 8, 10]
    assert held.batches == [[1], [2, 3], [4], [5]]  # the one with nine rows goes alone


def test_work_can_ask_for_more_while_it_works():
    taken = []

    def work(tickets, more) -> None:
        while tickets:
            taken.append([ticket.job for ticket in tickets])
            for ticket in tickets:
                ticket.settle(-ticket.job)
            tickets = more(2)

    lane = Lane("numbers", work, most=3, wait=0.05)

    async def asked() -> list:
        return await asyncio.gather(*(lane.submit(n) for n in range(8)))

    assert asyncio.run(asked()) == [-n for n in range(8)]
    assert taken == [[0, 1, 2], [3, 4], [5, 6], [7]]


def test_one_more_than_the_queue_holds_is_refused_with_a_time_to_come_again(held):
    lane = Lane("numbers", each_batch(held), most=1, wait=0.0, queue=2)

    async def asked() -> tuple:
        tasks = [asyncio.create_task(lane.submit(1))]
        await begun(held)
        tasks += [asyncio.create_task(lane.submit(n)) for n in (2, 3)]
        await asyncio.sleep(0)
        lane._seconds_a_job = 3.0
        with pytest.raises(Full) as refused:
            await lane.submit(4)
        assert lane.waiting == 2
        held.let_go.set()
        return refused.value.retry_after, await asyncio.gather(*tasks)

    assert asyncio.run(asked()) == (6.0, [2, 4, 6])
    assert lane.statistics.full == 1


def test_how_fast_it_goes_is_noted_while_a_batch_goes_on(monkeypatch):
    """Two jobs in four seconds, then one in three, in a batch that others join and that never ends."""
    clock = iter([0.0, 4.0, 7.0, 7.0])
    noted = []

    def work(tickets, more) -> None:
        monkeypatch.setattr("sensorium.serving.batching.time", SimpleNamespace(monotonic=lambda: next(clock)))
        lane._noted = next(clock)
        for ticket in tickets[:2]:
            ticket.settle(1)
        more(0)
        noted.append(lane._seconds_a_job)
        tickets[2].settle(1)
        more(0)
        noted.append(lane._seconds_a_job)

    lane = Lane("slow", work, wait=0.05)

    async def asked() -> None:
        await asyncio.gather(*(lane.submit(n) for n in range(3)))

    asyncio.run(asked())
    assert noted == [2.0, pytest.approx(0.8 * 2.0 + 0.2 * 3.0)]


def test_a_job_that_is_late_is_never_computed(held):
    lane = Lane("numbers", each_batch(held), most=1, wait=0.0)

    async def asked() -> int:
        first = asyncio.create_task(lane.submit(1))
        await begun(held)
        with pytest.raises(Late):
            await lane.submit(2, deadline=time.monotonic() + 0.02)
        held.let_go.set()
        return await first

    assert asyncio.run(asked()) == 2
    assert held.batches == [[1]]
    assert lane.statistics.late == 1


def test_a_job_whose_waiter_leaves_is_taken_out_of_the_queue(held):
    lane = Lane("numbers", each_batch(held), most=1, wait=0.0)

    async def asked() -> list:
        first = asyncio.create_task(lane.submit(1))
        await begun(held)
        second, third = asyncio.create_task(lane.submit(2)), asyncio.create_task(lane.submit(3))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        assert lane.waiting == 1
        held.let_go.set()
        return await asyncio.gather(first, second, third, return_exceptions=True)

    first, second, third = asyncio.run(asked())
    assert (first, third) == (2, 6)
    assert isinstance(second, asyncio.CancelledError)
    assert held.batches == [[1], [3]]
    assert lane.statistics.left == 1


def test_one_job_that_raises_does_not_fail_the_others_of_its_batch():
    lane = Lane("numbers", each_batch(lambda jobs: [12 // job for job in jobs]), wait=0.05)

    async def asked() -> list:
        return await asyncio.gather(*(lane.submit(n) for n in (3, 0, 4)), return_exceptions=True)

    three, nothing, four = asyncio.run(asked())
    assert (three, four) == (4, 3)
    assert isinstance(nothing, ZeroDivisionError)
    assert asyncio.run(lane.submit(6)) == 2  # from another loop, and the thread still works


def test_draining_finishes_what_was_accepted_and_refuses_what_comes(held):
    lane = Lane("numbers", each_batch(held), most=1, wait=0.0)

    async def asked() -> list:
        tasks = [asyncio.create_task(lane.submit(n)) for n in range(5)]
        await begun(held)
        drained = asyncio.create_task(lane.drain())
        await asyncio.sleep(0)
        with pytest.raises(Draining):
            await lane.submit(9)
        assert not drained.done()
        held.let_go.set()
        await drained
        return await asyncio.gather(*tasks)

    assert asyncio.run(asked()) == [0, 2, 4, 6, 8]
    asyncio.run(Lane("unused", each_batch(held)).drain())


def test_work_that_leaves_a_job_without_result_fails_it():
    lane = Lane("nothing", lambda tickets, more: None, wait=0.0)
    with pytest.raises(RuntimeError, match="left without a result"):
        asyncio.run(lane.submit(1))


def test_a_gate_closes_when_the_last_has_left():
    gate = Gate()

    async def closed() -> None:
        with gate:
            closing = asyncio.create_task(gate.close())
            await asyncio.sleep(0.01)
            assert not closing.done()
            with pytest.raises(Draining), gate:
                pass
        await closing
        await gate.close()

    asyncio.run(closed())
