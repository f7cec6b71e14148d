"""Samples and batches in words, for the preflight and for errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from torch import Tensor

from sensorium.data.sample import Batch, Sample
from sensorium.data.tokens import TokenBatch
from sensorium.features import Features
from sensorium.media import Source

SHOWN = 6  # values, ids or items shown of many


def ids(batch: Any, rows: Iterable[int]) -> str:
    """Which samples a batch is made of: their ids, their conversations' names, or their places in the data."""
    if isinstance(batch, Batch):
        return f"samples {_some(batch.ids)}"
    places = f"items {_some(rows)} of the data"
    # An item may be several conversations, and a name no more than a number in the batch: so both.
    named = isinstance(batch, TokenBatch) and batch.names
    return f"{places} ({_some(batch.names)})" if named else places


def batch(batch: Any, rows: Iterable[int]) -> str:
    """Ids, columns, present counts, shapes and types, a line each."""
    if not isinstance(batch, Batch):
        return "\n".join([ids(batch, rows), *_lines("", batch)])
    lines = [f"{len(batch)} rows: {ids(batch, rows)}"]
    for name, column in batch.columns.items():
        lines.append(f"{name} ({column.modality}): in {int(column.present.sum())} of {len(batch)} rows")
        lines += [f"  {line}" for line in _lines("", column.inputs)]
    distinct = len(batch.meanings[batch.meanings >= 0].unique())
    lines.append(f"meanings: {distinct} different ones, up to {batch.meanings.shape[1]} a row")
    if batch.fields:
        lines.append(f"fields: {', '.join(batch.fields)}")
    return "\n".join(lines)


def sample(item: Any) -> str:
    """One item as the data give it."""
    if not isinstance(item, Sample):
        return "\n".join(_lines("", item))
    lines = [f"id: {item.id}"]
    for name, modality in item.modality.items():
        lines.append(
            f"{name} ({modality}): {value(item.columns[name]) if name in item.columns else 'missing'}"
        )
    lines.append(f"meanings: {_some(item.meanings) or 'none'}")
    if item.fields:
        lines.append(f"fields: {', '.join(f'{name}={value(v)}' for name, v in item.fields.items())}")
    return "\n".join(lines)


def first_row(batch: Any) -> str:
    """The first item of a batch as the model gets it: the first row of every tensor."""
    if isinstance(batch, Batch):
        lines = []
        for name, column in batch.columns.items():
            if bool(column.present[0]):
                lines += [f"{name}: {line}" for line in _lines("", _first(column.inputs))]
            else:
                lines.append(f"{name}: missing")
        return "\n".join(lines)
    return "\n".join(_lines("", _first(batch)))


def value(thing: Any) -> str:
    """One value: type, shape, range, and its first numbers."""
    if isinstance(thing, Tensor):
        kind = f"{str(thing.dtype).removeprefix('torch.')}[{', '.join(map(str, thing.shape))}]"
        return kind + _numbers(
            thing.detach().cpu().float().numpy() if thing.is_floating_point() else thing.cpu().numpy()
        )
    if isinstance(thing, np.ndarray):
        return f"{thing.dtype}[{', '.join(map(str, thing.shape))}]" + _numbers(thing)
    if isinstance(thing, Source):
        return f"{thing.modality} {thing.name}"
    if isinstance(thing, str):
        return repr(thing if len(thing) <= 80 else thing[:77] + "…")
    if is_dataclass(thing) and not isinstance(thing, type):
        inside = ", ".join(f"{field.name}: {value(getattr(thing, field.name))}" for field in fields(thing))
        return f"{type(thing).__name__}({inside})"
    if isinstance(thing, list | tuple):
        return f"[{', '.join(value(each) for each in thing[:SHOWN])}{', …' if len(thing) > SHOWN else ''}]"
    return repr(thing)[:80]


def _lines(name: str, thing: Any) -> list[str]:
    """A line for each value in nested dicts and Features."""
    if isinstance(thing, Features):
        thing = {"tokens": thing.tokens, "mask": thing.mask, "pooled": thing.pooled}
    if isinstance(thing, Mapping):
        return [
            line
            for key, each in thing.items()
            for line in _lines(f"{name}.{key}" if name else str(key), each)
        ]
    return [f"{name}: {value(thing)}" if name else value(thing)]


def _first(thing: Any) -> Any:
    if isinstance(thing, Features):
        return Features(thing.tokens[:1], thing.mask[:1], thing.pooled[:1])
    if isinstance(thing, Tensor):
        return thing[:1] if thing.dim() else thing
    if isinstance(thing, Mapping):
        return {key: _first(each) for key, each in thing.items()}
    if isinstance(thing, list | tuple):
        return (
            [_first(each) for each in thing] if all(isinstance(each, Tensor) for each in thing) else thing[:1]
        )
    return thing


def _numbers(array: np.ndarray) -> str:
    if array.size == 0:
        return " empty"
    shape = "d" if array.dtype.kind in "iub" else ".4g"
    first = ", ".join(f"{number:{shape}}" for number in array.reshape(-1)[:SHOWN].tolist())
    spread = "" if array.dtype == bool else f", {array.min():{shape}} to {array.max():{shape}}"
    return f" {first}{', …' if array.size > SHOWN else ''}{spread}"


def _some(things: Iterable[Any]) -> str:
    things = list(things)
    return ", ".join(map(str, things[:SHOWN])) + (
        f" and {len(things) - SHOWN} more" if len(things) > SHOWN else ""
    )
