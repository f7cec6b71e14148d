"""Which rows a step sees: a pure function of the seed and the batch's number, so that any step can be drawn
again.

    number of the batch ──► Place(epoch, batch, rows) ──► items, each with its own seed ──► collate ──► batch

The position in the data is one number, whatever the loader workers have read ahead. The randomness of an item
(augmentation) is seeded from (seed, epoch, row) and so depends neither on the batch it falls into, nor on the
number of processes or workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from sensorium.training.randomness import preserved, seed_item

ITEM, COLLATE = 0, 1  # the two streams of random numbers that a seed is split into


def shuffled(seed: int, epoch: int, length: int) -> np.ndarray:
    """Every place once, in an order of its own for every epoch."""
    return np.random.default_rng((seed, epoch)).permutation(length)


def in_order(seed: int, epoch: int, length: int) -> np.ndarray:
    """Every place once, first to last."""
    return np.arange(length)


@dataclass(frozen=True)
class Place:
    """Where a batch stands: its epoch, its number in the epoch, and the rows of it that this process
    reads.
    """

    epoch: int
    batch: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Places:
    """The batches from number `start` on, without end, for process `rank` of `ranks`.

    Each process reads its own contiguous share of the global batch; `batch_size` must divide by `ranks`.
    """

    order: Callable[[int, int, int], np.ndarray]
    seed: int
    length: int
    batch_size: int
    start: int = 0
    rank: int = 0
    ranks: int = 1

    def __iter__(self) -> Iterator[Place]:
        whole = len(self.order(self.seed, 0, self.length)) // self.batch_size
        share = self.batch_size // self.ranks
        epoch, batch = divmod(self.start, whole)
        while True:
            rows = self.order(self.seed, epoch, self.length)
            if len(rows) // self.batch_size != whole:
                raise ValueError(
                    f"order gave {len(rows)} places in epoch {epoch}, which is not {whole} batches of "
                    f"{self.batch_size} as in epoch 0; it must give the same number in every epoch"
                )
            for number in range(batch, whole):
                first = number * self.batch_size + self.rank * share
                yield Place(epoch, number, tuple(rows[first : first + share].tolist()))
            epoch, batch = epoch + 1, 0


class Batches(Dataset):
    """Place -> (place, batch), with the same result in whichever process it is drawn."""

    def __init__(self, data: Sequence[Any], collate: Callable[[list[Any]], Any], seed: int) -> None:
        self.data, self.collate, self.seed = data, collate, seed

    def __getitem__(self, place: Place) -> tuple[Place, Any]:
        with preserved(gpu=False):
            return place, self._draw(place)

    def _draw(self, place: Place) -> Any:
        items = [self.item(place.epoch, row) for row in place.rows]
        # The first row too: each process collates a share of the batch and must not draw what the others do.
        seed_item(self.seed, COLLATE, place.epoch, place.batch, place.rows[0])
        return self.collate(items)

    def item(self, epoch: int, row: int) -> Any:
        """One item as that epoch has it. Leaves the random state seeded."""
        if not isinstance(self.data, range):  # a range draws nothing: spare it the seeding
            seed_item(self.seed, ITEM, epoch, row)
        return self.data[row]


def load(batches: Batches, places: Places, workers: int) -> Iterator[tuple[Place, Any]]:
    """Draw batch after batch, in order, in `workers` processes (0: in this one)."""
    # The loader draws a base seed for its workers: give it a generator of its own, so that the run's stays
    # untouched.
    return iter(
        DataLoader(
            batches,
            sampler=places,
            batch_size=None,
            num_workers=workers,
            collate_fn=_as_it_is,
            generator=torch.Generator().manual_seed(0),
            pin_memory=torch.cuda.is_available(),
        )
    )


def _as_it_is(drawn: Any) -> Any:
    return drawn
