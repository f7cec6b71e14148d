"""What a search asks: media or a vector, and a condition on columns.

text | image | audio | video | vector -> unit float32[width];  where, modality -> SQL condition
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from lancedb.table import Table

from sensorium.media import Audio, Source, Video
from sensorium.retrieval.rows import HIDDEN, quoted

DECODED = {"image": np.ndarray, "audio": Audio, "video": Video}


class Model(Protocol):
    """What an index needs of a model.

    identity: a line that changes whenever its vectors would
    source:   the folder it was loaded from, so that an index can say which model to load; "" when from none
    embed:    media of one modality -> unit float32[N, width], in the order given
    """

    @property
    def modalities(self) -> tuple[str, ...]: ...
    @property
    def width(self) -> int: ...
    @property
    def identity(self) -> str: ...
    @property
    def source(self) -> str: ...
    def embed(self, modality: str, media: list[Any], progress: bool = False) -> np.ndarray: ...


def query_vector(model: Model, asked: Mapping[str, Any], vector: np.ndarray | None) -> np.ndarray:
    """The direction of the sum of what is asked, {"text": "an apple", "image": "apple.png"} and a vector."""
    given = {name: value for name, value in asked.items() if value is not None}
    if not given and vector is None:
        raise ValueError("search: got no query; expected one of text=, image=, audio=, video=, vector=")
    for modality in given:
        if modality not in model.modalities:
            raise ValueError(
                f"search: got {modality}=; {model.source or model.identity} embeds "
                f"{', '.join(model.modalities)}"
            )
    parts = [unit(model.embed(name, [_decoded(name, value)])[0]) for name, value in given.items()]
    if vector is not None:
        vector = np.asarray(vector, np.float32)
        if vector.shape != (model.width,) or not np.isfinite(vector).all():
            raise ValueError(f"vector: got shape {vector.shape}; expected finite float[{model.width}]")
        parts.append(unit(vector))
    return unit(np.sum(parts, axis=0))


def _decoded(modality: str, value: Any) -> Any:
    if modality == "text":
        if not isinstance(value, str):
            raise ValueError(f"search: got {type(value).__name__} for text=; expected a string")
        return value
    if isinstance(value, bytes):
        value = Source(modality, data=value, name="the query")
    elif isinstance(value, str | os.PathLike):
        value = Source(modality, path=Path(value))
    if isinstance(value, Source):
        value = value.decode()
    if not isinstance(value, DECODED[modality]):
        raise ValueError(
            f"search: got {type(value).__name__} for {modality}=; expected a path, bytes, a Source or a "
            f"decoded {DECODED[modality].__name__}"
        )
    return value


def unit(vector: np.ndarray) -> np.ndarray:
    """float[D] -> float32[D] of length 1; zeros stay."""
    return (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)


def condition(
    table: Table, where: str | None, modality: str | Sequence[str] | None, modalities: Sequence[str]
) -> str | None:
    """The user's filter and the wanted modalities as one SQL condition; None when there is neither."""
    parts = []
    if where is not None:
        check_filter(table, where)
        parts.append(f"({where})")
    if modality is not None:
        wanted = [modality] if isinstance(modality, str) else list(modality)
        if unknown := [m for m in wanted if m not in modalities]:
            raise ValueError(f"modality: got {', '.join(unknown)}; this index holds {', '.join(modalities)}")
        parts.append(f"modality IN ({quoted(wanted)})")
    return " AND ".join(parts) or None


def check_filter(table: Table, where: str) -> None:
    """Refuse a filter that Lance cannot read, before anything is done with it."""
    try:
        table.search().where(f"({where})").select(["id"]).limit(1).to_arrow()
    except (ValueError, RuntimeError) as error:  # RuntimeError: one that reads and cannot be computed
        # Lance ends its messages with the place in its own source code.
        reason = re.sub(r",? */\S+\.rs:\d+.*", "", str(error), flags=re.S)
        reason = re.sub(r"\.? Valid fields are.*", "", reason, flags=re.S)
        columns = ", ".join(f"{c.name} ({c.type})" for c in table.schema if c.name not in HIDDEN)
        raise ValueError(
            f"where={where!r}: {reason}.\nColumns: {columns}.\n"
            "Write text in single quotes, names with capitals in backticks: split = 'test' AND `Year` > 2000"
        ) from error
