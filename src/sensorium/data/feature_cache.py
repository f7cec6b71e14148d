"""Features of frozen encoders, computed once and read from memory-mapped files afterwards.

Source | Media + Encoder -> CachedFeatures -> Features
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sensorium import speed
from sensorium.data.feature_filling import Encoding, Items, fill
from sensorium.data.feature_shards import WRITING, Space, remove
from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Sample
from sensorium.features import Features
from sensorium.media import LIMITS, Limits, Media, Source

What = Literal["pooled", "tokens"]
FORMAT = 1  # part of every key; raised when media are decoded or features stored in another way


class CachedFeatures:
    """The cached Features of N items; nothing is in memory until it is indexed.

    present: bool[N], False for media that went to quarantine
    ids:     names of the items, to look their rows up by, or None

    `cached[rows]` reads the rows of an index, a slice or a sequence of indices in one go (a gather from each
    memory map that holds some of them; what one call has filled is one map) and gives Features of float32.
    """

    def __init__(
        self, space: Space, keys: np.ndarray, present: np.ndarray, ids: Sequence[str] | None = None
    ) -> None:
        self._space, self._keys, self.present = space, keys, present
        self.ids = None if ids is None else tuple(ids)
        self._rows = {id: row for row, id in enumerate(self.ids or ()) if present[row]}
        self._shards = list(space.shards.values())  # held: merging does not take them from us
        self._shard_of, self._row_of = space.locate(keys)
        if (self._shard_of[present] < 0).any():
            raise ValueError(
                f"{space.folder} lacks some of these items; was it cleared? Ask the cache for them again"
            )

    def __reduce__(self) -> tuple:  # memory maps do not pickle: a loader worker opens its own
        return _reopened, (self._space.folder.parent, self._space.about, self._keys, self.present, self.ids)

    @property
    def modality(self) -> str:
        return str(self._space.about["modality"])

    @property
    def width(self) -> int:
        return self._space.width

    @property
    def what(self) -> str:
        return str(self._space.about["what"])

    def __len__(self) -> int:
        return len(self._keys)

    def row(self, id: str) -> int | None:
        """Where the item of this id lies, None when it has none (no such media, or quarantined)."""
        return self._rows.get(id)

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray | torch.Tensor) -> Features:
        """Features of P rows; an int gives P = 1. Raises IndexError for absent ones."""
        rows = self._checked(index)
        pooled = torch.from_numpy(self._gather(rows))
        if self.what == "pooled":
            return Features.from_pooled(pooled)
        sequences = [self._shards[self._shard_of[row]].sequence(self._row_of[row]) for row in rows]
        tokens = np.zeros((len(rows), max([1, *map(len, sequences)]), self.width), np.float32)
        mask = np.zeros(tokens.shape[:2], bool)
        for place, sequence in enumerate(sequences):
            tokens[place, : len(sequence)] = sequence
            mask[place, : len(sequence)] = True
        return Features(torch.from_numpy(tokens), torch.from_numpy(mask), pooled)

    def pooled(self, index: slice | Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """float32[P, D]: the pooled vectors alone, of all present items when no index is given."""
        return self._gather(np.flatnonzero(self.present) if index is None else self._checked(index))

    def _checked(self, index: int | slice | Sequence[int] | np.ndarray | torch.Tensor) -> np.ndarray:
        if isinstance(index, torch.Tensor):
            index = index.numpy()
        elif not isinstance(index, int | np.integer | slice):
            index = np.asarray(index, np.int64)
        rows = np.atleast_1d(np.arange(len(self))[index])
        if not self.present[rows].all():
            absent = rows[~self.present[rows]]
            names = [self.ids[row] for row in absent[:3]] if self.ids else absent[:3].tolist()
            raise IndexError(
                f"{len(absent)} of {len(rows)} items have no features ({names}): their media are "
                "in quarantine. Choose rows with `.present`"
            )
        return rows

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        shard_of, row_of = self._shard_of[rows], self._row_of[rows]
        used = np.unique(shard_of)
        if len(used) == 1:
            return self._shards[used[0]].pooled[row_of].astype(np.float32, copy=False)
        gathered = np.empty((len(rows), self.width), np.float32)
        for shard in used:
            here = shard_of == shard
            gathered[here] = self._shards[shard].pooled[row_of[here]]
        return gathered


def _reopened(
    cache: Path, about: Mapping[str, Any], keys: np.ndarray, present: np.ndarray, ids: Sequence[str] | None
) -> CachedFeatures:
    space = Space(cache, about)
    space.refresh()
    return CachedFeatures(space, keys, present, ids)


@dataclass(frozen=True)
class SpaceSize:
    """What one encoder takes in the cache. about: identity, preparation … as stored; bytes on the disk."""

    folder: Path
    about: Mapping[str, Any]
    items: int
    bytes: int


class FeatureCache:
    """A folder of features, known by the content of the media, the encoder's weights and its preparation.

    Any number of processes may read and write at once (see `feature_shards`); a crash loses the features that
    were not published yet and leaves nothing that anybody reads.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self._spaces: dict[Path, Space] = {}

    def features(
        self,
        encoder: Encoding,
        items: Sequence[Source | Media],
        what: What = "pooled",
        *,
        batch_size: int = 32,
        progress: bool = True,
        dtype: Literal["float32", "float16"] = "float32",
        decoding: Mapping[str, Any] | None = None,
        quarantine: Quarantine | None = None,
        limits: Limits = LIMITS,
        ids: Sequence[str] | None = None,
        column: str = "",
    ) -> CachedFeatures:
        """The Features of N items, row i for item i. Only what the cache lacks is decoded and encoded.

        what:       "pooled" keeps one vector an item; "tokens" the whole sequence as well
        dtype:      as stored; float16 halves the disk and keeps three digits
        decoding:   options of `Source.decode` (rate, ground, frames); part of the key
        quarantine: where media that cannot be decoded goes; None raises its `MediaError`
        ids:        names of the items for `CachedFeatures.row` and the quarantine
        column:     the column that the quarantine names
        """
        if what not in ("pooled", "tokens"):
            raise ValueError(f"what: got {what!r}; expected 'pooled' or 'tokens'")
        if ids is not None and len(ids) != len(items):
            raise ValueError(f"ids: got {len(ids)} for {len(items)} items; expected one each")
        space = self._space(encoder, what, dtype, decoding or {})
        names = [_name(item, row) for row, item in enumerate(items)] if ids is None else ids
        work = Items(items, names, column or encoder.modality, decoding or {}, limits, quarantine)
        keys, present = fill(space, encoder, work, batch_size, progress)
        if quarantine is not None:
            quarantine.check()
        return CachedFeatures(space, keys, present, ids)

    def of_samples(
        self, encoder: Encoding, samples: Sequence[Sample], column: str, what: What = "pooled", **options: Any
    ) -> CachedFeatures:
        """The Features of one column of records, those that have it; rows are found by `row(sample.id)`."""
        having = [sample for sample in samples if column in sample.columns]
        if not having:
            known = sorted({name for sample in samples for name in sample.modality})
            raise ValueError(f"no record has a column {column!r}; the data set has {known}")
        wrong = {sample.modality[column] for sample in having} - {encoder.modality}
        if wrong:
            raise ValueError(
                f"column {column!r} holds {sorted(wrong)}, but its encoder takes {encoder.modality}"
            )
        media: list[Any] = [sample.columns[column] for sample in having]  # of that modality, so no messages
        return self.features(
            encoder, media, what, ids=[sample.id for sample in having], column=column, **options
        )

    def sizes(self) -> list[SpaceSize]:
        """What is kept, largest first."""
        sizes = []
        for file in sorted(self.folder.glob("*/space.json")):
            space = self._opened(json.loads(file.read_text(encoding="utf-8")))
            size = sum(part.stat().st_size for part in file.parent.rglob("*") if part.is_file())
            items = sum(len(shard) for shard in space.shards.values())
            if items:
                sizes.append(SpaceSize(space.folder, space.about, items, size))
        return sorted(sizes, key=lambda size: -size.bytes)

    def clear(self, encoder: Encoding | None = None) -> int:
        """Delete the features of one encoder's present weights, or all; returns the bytes set free."""
        freed = 0
        for size in self.sizes():
            if encoder is None or size.about["encoder"] == encoder.identity:
                for part in [
                    p for p in size.folder.iterdir() if p.is_dir() and not p.name.startswith(WRITING)
                ]:
                    remove(part)
                self._spaces.pop(size.folder, None)
                freed += size.bytes
        return freed

    def _space(self, encoder: Encoding, what: str, dtype: str, decoding: Mapping[str, Any]) -> Space:
        return self._opened(
            {
                "format": FORMAT,
                "encoder": encoder.identity,
                "modality": encoder.modality,
                "preparation": encoder.preparation,
                "decoding": dict(decoding),
                # Speed settings decide the type that is computed in, and with it the last digits.
                "computed": f"{speed.inference_dtype()}{'' if speed.enabled() else ', plain'}",
                "what": what,
                "width": encoder.width,
                "dtype": dtype,
            }
        )

    def _opened(self, about: Mapping[str, Any]) -> Space:
        space = Space(self.folder, about)
        space = self._spaces.setdefault(space.folder, space)
        space.refresh()
        return space


def _name(item: Source | Media, row: int) -> str:
    return item.name if isinstance(item, Source) else f"item {row}"
