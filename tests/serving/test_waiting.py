"""Work ends with its result, its error, its time, or with the client; and nothing of it goes on afterwards."""

import asyncio

import pytest
from fastapi import Request

from sensorium.serving.errors import ApiError
from sensorium.serving.waiting import answered


def run(work, seconds: float = 60.0, leaves: float | None = None, cut: float | None = None):
    """What `answered` returns or raises. leaves: seconds after which the client does; cut: the request is cancelled"""

    async def receive():
        await asyncio.sleep(3600 if leaves is None else leaves)
        return {"type": "http.disconnect"}

    async def main():
        request = Request({"type": "http", "headers": []}, receive)
        task = asyncio.create_task(answered(request, work, seconds))
        if cut is not None:
            await asyncio.sleep(cut)
            task.cancel()
        [found] = await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return found

    return asyncio.run(main())


class Long:
    """Work that takes an hour; `ended` says how it did."""

    def __init__(self) -> None:
        self.ended = ""

    async def __call__(self) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # what is given back takes a moment
            self.ended = "cancelled"
            raise


async def soon(value):
    await asyncio.sleep(0)
    if isinstance(value, Exception):
        raise value
    return value


def test_results_and_errors_come_as_they_are_or_in_words_for_the_caller():
    assert run(soon(7)) == 7
    assert run(soon(7), leaves=0.0) == 7
    error = run(soon(ValueError("got 3; expected 4")))
    assert (type(error), error.status, error.message) == (ApiError, 400, "got 3; expected 4")
    assert run(soon(KeyError("ours"))).status == 500


def test_a_timeout_of_the_works_own_is_not_the_requests():
    assert run(soon(TimeoutError())).status == 500


@pytest.mark.parametrize(("how", "status"), [({"seconds": 0.02}, 504), ({"leaves": 0.02}, 499)])
def test_work_ends_with_its_time_and_with_the_client(how, status):
    work = Long()
    assert run(work(), **how).status == status
    assert work.ended == "cancelled"


def test_a_client_that_leaves_while_the_time_runs_out_changes_nothing():
    work = Long()
    assert run(work(), seconds=0.02, leaves=0.025).status in (499, 504)
    assert work.ended == "cancelled"


def test_work_ends_with_the_request():
    work = Long()
    assert isinstance(run(work(), cut=0.02), asyncio.CancelledError)
    assert work.ended == "cancelled"
