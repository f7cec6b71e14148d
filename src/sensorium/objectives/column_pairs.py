"""The pairs of columns that a contrastive objective compares, row by row of the global batch."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sensorium.objectives.global_batch import gather_rows, world_size


class EmbeddingsLike(Protocol):
    """What an objective reads of `models.joint_embedding.Embeddings`."""

    @property
    def vectors(self) -> dict[str, Tensor]: ...
    @property
    def present(self) -> dict[str, Tensor]: ...
    @property
    def scale(self) -> Tensor: ...
    @property
    def bias(self) -> Tensor: ...


PairWeights = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class ColumnPair:
    """The rows that have both of two columns: n of this process, N of all processes.

    x, y:         float[n, D], this process's
    all_x, all_y: float[N, D], every process's, in order of process; gradients flow back to their owners
    meanings:     int64[N, K], -1 where there is none
    first:        the place of this process's first row among the N
    """

    x: Tensor
    y: Tensor
    all_x: Tensor
    all_y: Tensor
    meanings: Tensor
    first: int

    def positives(self, start: int = 0, stop: int | None = None) -> Tensor:
        """bool[stop - start, N]: which of all rows mean the same as this process's rows start … stop."""
        stop = len(self.x) if stop is None else stop
        own = torch.arange(self.first + start, self.first + stop, device=self.meanings.device)
        positives = share_meaning(self.meanings[own], self.meanings)
        positives[torch.arange(len(own), device=own.device), own] = True  # itself, also without any meaning
        return positives


def share_meaning(a: Tensor, b: Tensor) -> Tensor:
    """int64[n, K], int64[m, L] -> bool[n, m], True where the two rows have an id >= 0 in common."""
    b = b.masked_fill(b < 0, -2)  # so that the padding of a, -1, equals nothing
    shared = torch.zeros(len(a), len(b), dtype=torch.bool, device=a.device)
    for column_a, column_b in itertools.product(a.unbind(1), b.unbind(1)):
        shared |= column_a[:, None] == column_b[None, :]
    return shared


def column_pairs(
    embeddings: EmbeddingsLike, meanings: Tensor, weights: PairWeights | None, anchors: Collection[str] = ()
) -> Iterator[tuple[str, float, ColumnPair]]:
    """Name ("picture-caption"), weight and rows of every pair that has a weight; all pairs with 1 if None.

    anchors: columns that only pairs among themselves move: beside any other column their vectors take no gradient

    Every process yields the same pairs in the same order, also those that none of its rows has. Raises
    ValueError for a pair of columns that the embeddings lack.
    """
    if weights is None:
        weights = dict.fromkeys(itertools.combinations(embeddings.vectors, 2), 1.0)
    for (a, b), weight in weights.items():
        if missing := [column for column in (a, b) if column not in embeddings.vectors]:
            raise ValueError(
                f"the pair {(a, b)} names {missing}, but the columns are {sorted(embeddings.vectors)}"
            )
        still = {a, b} & set(anchors)
        yield f"{a}-{b}", weight, _pair(embeddings, meanings, a, b, still if len(still) == 1 else set())


def _pair(embeddings: EmbeddingsLike, meanings: Tensor, a: str, b: str, still: Collection[str]) -> ColumnPair:
    has_a, has_b = embeddings.present[a], embeddings.present[b]
    both = has_a & has_b
    x = embeddings.vectors[a][both[has_a].to(embeddings.vectors[a].device)]
    y = embeddings.vectors[b][both[has_b].to(embeddings.vectors[b].device)]
    x, y = (v.detach() if column in still else v for column, v in ((a, x), (b, y)))
    meanings = meanings.to(both.device)[both].to(x.device)
    if world_size() == 1:
        return ColumnPair(x, y, x, y, meanings, 0)
    all_x, first = gather_rows(x)
    all_y, _ = gather_rows(y)
    all_meanings, _ = gather_rows(meanings, padding=-1)
    return ColumnPair(x, y, all_x, all_y, all_meanings, first)
