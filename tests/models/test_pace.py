"""Pace takes the faster number of threads, tries again when things change, and always puts the number back."""

import pytest
import torch

from sensorium.models.pace import FIRST_STRETCH, Pace


class Machine:
    """A clock that a step moves by what it costs on so many threads."""

    def __init__(self, one: float, two: float) -> None:
        self.cost, self.now, self.used = {1: one, 2: two}, 0.0, []

    def step(self) -> int:
        self.used.append(torch.get_num_threads())
        self.now += self.cost[self.used[-1]]
        return len(self.used)


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_faster_way_is_taken_and_tried_anew():
    machine = Machine(one=1.0, two=0.6)
    pace = Pace(lambda: machine.now)
    results = [pace.step(machine.step) for _ in range(4 + FIRST_STRETCH)]
    assert results == list(range(1, 5 + FIRST_STRETCH))
    assert machine.used == [1, 1, 2, 2] + [2] * FIRST_STRETCH
    machine.cost[2] = 10.0  # somebody took a core
    for _ in range(3 + 10):
        pace.step(machine.step)
    assert machine.used[-13:] == [1, 1, 2] + [1] * 10
    assert torch.get_num_threads() == 2


def test_what_is_clear_is_tried_less_and_less():
    machine = Machine(one=1.0, two=20.0)
    pace = Pace(lambda: machine.now)
    for _ in range(1000):
        pace.step(machine.step)
    assert machine.used.count(2) <= 5
    assert machine.now < 1100


def test_a_step_that_fails_puts_the_number_back():
    def fails():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pace().step(fails)
    assert torch.get_num_threads() == 2


def test_other_work_runs_as_steps_were_found_to():
    machine = Machine(one=1.0, two=0.6)
    pace = Pace(lambda: machine.now)
    pace.once(machine.step)
    for _ in range(4):
        pace.step(machine.step)
    pace.once(machine.step)
    assert machine.used == [1, 1, 1, 2, 2, 2]
