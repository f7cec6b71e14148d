"""Rows of the index's table: its own columns, and those that samples bring.

Loaded items, vectors float32[N, D] -> Arrow table
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb.table import Table

from sensorium.retrieval.loading import Loaded

OWN = ("id", "key", "modality", "path", "caption", "thumbnail", "vector")
HIDDEN = ("key", "thumbnail", "vector")  # of no use in a filter
TYPES: dict[type, pa.DataType] = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}


def schema(width: int) -> pa.Schema:
    """The index's own columns; `column` is the sample's column a row was made from, "" for files."""
    strings = [pa.field(name, pa.string()) for name in ("id", "key", "modality", "column", "path", "caption")]
    vector = pa.field("vector", pa.list_(pa.float32(), width))
    return pa.schema([*strings, pa.field("thumbnail", pa.binary()), vector])


def table(stored: Table, loaded: Sequence[Loaded], vectors: np.ndarray) -> pa.Table:
    """Rows to append. Fields without a column in the stored table get one, null in its older rows."""
    items = [one.item for one in loaded]
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    values: dict[str, Sequence[Any]] = {
        "id": [item.id for item in items],
        "key": [one.key for one in loaded],
        "modality": [item.modality for item in items],
        "column": [item.column for item in items],
        "path": [item.path for item in items],
        "caption": [one.media if isinstance(one.media, str) else one.item.caption for one in loaded],
        "thumbnail": [one.thumbnail for one in loaded],
    }
    names = {name: None for item in items for name, value in item.fields.items() if value is not None}
    fresh = [
        pa.field(name, _type(name, [item.fields.get(name) for item in items]))
        for name in names
        if name not in stored.schema.names
    ]
    if fresh:
        stored.add_columns(pa.schema(fresh))
    whole = stored.schema
    values |= {
        name: [item.fields.get(name) for item in items] for name in whole.names if name not in schema(1).names
    }
    flat = pa.array(np.ascontiguousarray(unit, np.float32).ravel())
    vector = pa.FixedSizeListArray.from_arrays(flat, unit.shape[1])
    columns = [vector if c.name == "vector" else _column(c, values[c.name]) for c in whole]
    return pa.Table.from_arrays(columns, schema=whole)


def _type(name: str, values: Sequence[Any]) -> pa.DataType:
    """The column type of a new field, from its first value: number, truth value, string or list of these."""
    value = next(v for v in values if v is not None)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple) and value and type(value[0]) in TYPES:
        return pa.list_(TYPES[type(value[0])])
    if type(value) in TYPES:
        return TYPES[type(value)]
    raise ValueError(
        f"field {name!r}: got {type(value).__name__}; expected a string, a number, True or False, or "
        "a list of one of these. Leave it out with add(…, fields=[…])"
    )


def _column(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(
            f"field {field.name!r}: got a value that does not fit its column of {field.type} ({error}). "
            "Give all samples the same type, or leave it out with add(…, fields=[…])"
        ) from error


def quoted(values: Iterable[str]) -> str:
    """Strings as SQL literals, with commas between."""
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)
