"""The rows of a table that are nearest to vectors, one or many in one pass.

float32[N, width], condition -> N lists of Hits, best first
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lancedb.table import Table

from sensorium.retrieval import approximate, rows


@dataclass(frozen=True)
class Hit:
    """One answer of a search.

    id:        the sample's id, or the file's absolute path
    score:     cosine to the query, 1 is the same direction. Scores of different modalities do not compare
               well (the modality gap); ask for one `modality` when the order across them matters
    path:      where the media lies, "" when it came from no file
    caption:   words beside it; for a text the text itself
    thumbnail: JPEG bytes of pictures and clips
    fields:    the filterable columns that were added with it
    """

    id: str
    score: float
    modality: str
    path: str
    caption: str
    thumbnail: bytes | None = field(repr=False)
    fields: dict[str, Any]


def nearest(
    table: Table, vectors: np.ndarray, wanted: str | None, top_k: int, nprobes: int | None
) -> list[list[Hit]]:
    """The rows with the largest dot products, for each of N vectors.

    wanted:  an SQL condition on columns, None for all rows
    nprobes: partitions of the approximation that are searched; None compares with every row
    """
    # A table is read once for all queries: most of what a search of some thousand rows costs is reading it.
    search: Any = table.search(
        vectors[0] if len(vectors) == 1 else list(vectors), vector_column_name="vector"
    )
    query = search.distance_type("dot").limit(top_k)
    query = query.bypass_vector_index() if nprobes is None else approximate.probing(query, nprobes)
    if wanted:
        query = query.where(wanted, prefilter=True)
    columns = [c.name for c in table.schema if c.name not in ("vector", "key")]
    found = query.select([*columns, "_distance"]).to_arrow().to_pylist()
    fields = [name for name in columns if name not in rows.OWN]
    hits: list[list[Hit]] = [[] for _ in vectors]
    for row in sorted(found, key=lambda row: row["_distance"]):
        hit = Hit(
            row["id"],
            1.0 - row["_distance"],
            row["modality"],
            row["path"],
            row["caption"],
            row["thumbnail"],
            {name: row[name] for name in fields if row[name] is not None},
        )
        hits[row.get("query_index", 0)].append(hit)
    return hits
