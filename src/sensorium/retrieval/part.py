"""Some rows of an index, for those who look at it as a whole.

Index -> rows at random: {column: values};  which values its columns have
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sensorium.retrieval.index import Index
from sensorium.retrieval.rows import HIDDEN

CHOICES = 60  # different values at most of a column that one chooses from
LOOKED_THROUGH = 200_000  # rows at most whose values are collected
UNCHOSEN = ("id", "path", "caption", "column", *HIDDEN)


def part_of(index: Index, columns: Sequence[str], most: int, seed: int = 0) -> dict[str, list[Any]]:
    """The columns of at most `most` rows, in the order of the table; of more, a random part.

    A vector is float32[D].
    """
    total = len(index)
    rows = np.arange(total)
    if total > most:
        rows = np.sort(np.random.default_rng(seed).choice(total, most, replace=False))
    if not total:
        return {name: [] for name in columns}
    table: Any = index._table.take_offsets(rows.tolist()).select(list(columns)).to_arrow()
    return {name: _values(table[name]) for name in columns}


def choices(index: Index) -> dict[str, list[str | int | bool]]:
    """By column, its different values, where they are words, whole numbers or truth values and few.

    Raises nothing for a column that has many: it is left out, as it is when all its values are one.
    """
    found: dict[str, list[str | int | bool]] = {}
    for column in index._table.schema:
        kind = column.type
        chosen_from = pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
        if column.name in UNCHOSEN or not chosen_from:
            continue
        read: Any = index._table.search().select([column.name]).limit(LOOKED_THROUGH).to_arrow()
        values = read[column.name].unique().drop_null().to_pylist()
        if 1 < len(values) <= CHOICES:
            found[column.name] = sorted(values)
    return found


def _values(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_fixed_size_list(column.type):
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return list(flat.reshape(len(column), -1))
    return list(column.to_pylist())
