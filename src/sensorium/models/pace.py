"""How many threads a short step is worth on this machine at this moment: found by trying."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

TRIES = 2  # of each way; the faster of the two counts, since one may meet a busy moment
FIRST_STRETCH = 32  # steps until it is tried again
LONGEST_STRETCH = 1024


class Pace:
    """Runs steps of like cost on one thread or on all of them, whichever was faster.

    A step of decoding is hundreds of small operations, and threads wait for the slowest at the end of each. On
    quiet cores two threads are nearly twice as fast as one; where another program has one of the cores they wait for
    it each time, and are ten to fifty times as slow. Tried again later, and ever later where it was clear. Sums of
    float32 are taken in another order (differences of 1e-5 in logits).
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.alone = True  # one thread, or all
        self.stretch = FIRST_STRETCH
        self._left = 0
        self._tried: dict[bool, list[float]] = {True: [], False: []}

    def step(self, step: Callable[[], Result]) -> Result:
        """One of many steps: what it costs decides how later ones are run."""
        if torch.get_num_threads() == 1:
            return step()
        trying = self._left <= 0
        alone = len(self._tried[True]) < TRIES if trying else self.alone
        started = self.clock()
        result = _on(1 if alone else torch.get_num_threads(), step)
        self._left -= 1
        if trying:
            self._note(alone, self.clock() - started)
        return result

    def once(self, work: Callable[[], Result]) -> Result:
        """Work of another size, on as many threads as steps were found to want; one before any was tried."""
        return _on(1 if self.alone else torch.get_num_threads(), work)

    def _note(self, alone: bool, seconds: float) -> None:
        self._tried[alone].append(seconds)
        one, all_ = (min(self._tried[way], default=float("inf")) for way in (True, False))
        # A first try that is clearly slower needs no second.
        if not alone and (len(self._tried[False]) == TRIES or seconds > 2 * one):
            before, self.alone = self.alone, one <= all_
            clear = before == self.alone and max(one, all_) > 2 * min(one, all_)
            self.stretch = min(2 * self.stretch, LONGEST_STRETCH) if clear else FIRST_STRETCH
            self._left = self.stretch
            self._tried = {True: [], False: []}


def _on(threads: int, work: Callable[[], Result]) -> Result:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return work()
    finally:
        torch.set_num_threads(before)
