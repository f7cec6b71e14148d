"""IVF-PQ beyond a size, with its recall against exact search.

vectors -> partitions and product codes (Jégou et al. 2011) -> fewer comparisons, some neighbours missed

How many are missed is measured on the index's own rows, and more partitions are searched until few are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from lancedb.index import IvfPq
from lancedb.table import Table

NAME = "vector_idx"
KMEANS = 20  # rounds; Lance's 50 cost more than twice the time, which on a CPU is minutes
REFINE = 10  # candidates re-ranked by their full vectors, in multiples of k, at least


@dataclass(frozen=True)
class Approximation:
    """How the approximate search is set, and what that costs.

    rows:       rows it was built from
    partitions: cells of the inverted file; nprobes: how many of them a search looks into
    recall:     share of the exact k nearest that it finds, over `queries` rows searched for their neighbours
    """

    rows: int
    partitions: int
    nprobes: int
    recall: float
    k: int
    queries: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"approximate search over {self.rows:,} rows: recall@{self.k} {self.recall:.3f} against exact "
            f"({self.queries} queries, {self.nprobes} of {self.partitions} partitions)"
        )


def build(table: Table, width: int, wanted: float = 0.95, k: int = 10, queries: int = 100) -> Approximation:
    """Build IVF-PQ over the table's vectors; choose the smallest nprobes whose recall@k reaches `wanted`."""
    rows = table.count_rows()
    partitions = max(1, round(rows**0.5))
    codes = next(m for m in (width // 4, width // 5, width // 3, width // 2, width) if m and width % m == 0)
    config = IvfPq(
        distance_type="dot", num_partitions=partitions, num_sub_vectors=codes, max_iterations=KMEANS
    )
    table.create_index("vector", config=config, name=NAME, replace=True)
    asked = _some_vectors(table, rows, queries)
    exact = _exact(table, asked, k)
    nprobes = min(partitions, 8)
    while True:
        found = [_found(table, vector, k, nprobes) for vector in asked]
        recall = float(np.mean([len(set(f) & set(e)) / len(e) for f, e in zip(found, exact)]))
        if recall >= wanted or nprobes == partitions:
            return Approximation(rows, partitions, nprobes, recall, k, len(asked))
        nprobes = min(2 * nprobes, partitions)


def _exact(table: Table, queries: np.ndarray, k: int) -> list[list[str]]:
    """Keys of the k nearest rows of each query, all queries in one pass over the table."""
    keys = np.empty((len(queries), 0), object)
    scores = np.empty((len(queries), 0), np.float32)
    for batch in table.search().select(["key", "vector"]).limit(None).to_batches(8192):
        vectors = batch["vector"].flatten().to_numpy().reshape(len(batch), -1)
        here = np.broadcast_to(np.array(batch["key"].to_pylist(), object), (len(queries), len(batch)))
        keys = np.concatenate([keys, here], axis=1)
        scores = np.concatenate([scores, queries @ vectors.T], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        keys, scores = np.take_along_axis(keys, best, 1), np.take_along_axis(scores, best, 1)
    return keys.tolist()


def _found(table: Table, query: np.ndarray, k: int, nprobes: int) -> list[str]:
    """Keys of the k nearest rows in the `nprobes` partitions nearest to the query."""
    search: Any = table.search(query, vector_column_name="vector")
    wanted = search.distance_type("dot").select(["key", "_distance"]).limit(k)
    keys: list[str] = probing(wanted, nprobes).to_arrow()["key"].to_pylist()
    return keys


def probing(query: Any, nprobes: int) -> Any:
    """A search of `nprobes` partitions. The wider it looks, the more it re-ranks: the codes are coarse."""
    return query.nprobes(nprobes).refine_factor(max(REFINE, nprobes))


def _some_vectors(table: Table, rows: int, number: int) -> np.ndarray:
    """Vectors of evenly spread rows, nudged so that a query is no exact copy of its own row."""
    offsets = np.unique(np.linspace(0, rows - 1, min(number, rows)).astype(int)).tolist()
    column = table.take_offsets(offsets).select(["vector"]).to_arrow()["vector"].combine_chunks()
    vectors = column.flatten().to_numpy().reshape(len(offsets), -1)
    noise = np.random.default_rng(0).normal(size=vectors.shape) / vectors.shape[1] ** 0.5
    return (vectors + 0.3 * noise).astype(np.float32)
