"""Records -> one `Batch`: decoding, preparation, presence, meanings.

[Sample] + encoders (or their cached Features) -> Batch
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from sensorium.data.feature_cache import FeatureCache
from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Batch, Column, Sample
from sensorium.features import Features
from sensorium.media import LIMITS, Limits, Media, MediaError, Source


class Preparing(Protocol):
    """What collating needs of an encoder."""

    modality: str

    def prepare(self, media: Sequence[Any]) -> dict[str, Tensor]: ...


class Cached(Protocol):
    """Features computed before, by record id: `CachedFeatures`, or what draws from several of them."""

    @property
    def modality(self) -> str: ...
    def row(self, id: str) -> Any: ...
    def __getitem__(self, rows: Any) -> Features: ...


class Collator:
    """[Sample] -> Batch, for `DataLoader(collate_fn=…)` and `Run(collate=…)`; pickles when its encoders do.

    encoders:   by column name; the batch has these columns and no others
    cached:     by column name, Features computed before (`FeatureCache.of_samples`). Such a column is neither
                decoded nor prepared: its rows are read from the memory-mapped files, and it needs no encoder
    augment:    by column name, decoded media -> decoded media, before preparation. Draw from the global
                random states: the training loop seeds them for every batch
    decoding:   by column name, options of `Source.decode`: {"speech": {"rate": 48_000}}
    quarantine: where media that cannot be decoded goes; None raises its `MediaError`
    samples:    when given, the rows may come as places in it: `Run(data=range(len(samples)), …)`

    A row whose media goes to quarantine loses that column, as if the record never had it, and stays in the
    batch even if it has no column left: batches keep their size, so that processes and resumed runs agree on
    every position.
    """

    def __init__(
        self,
        encoders: Mapping[str, Preparing],
        *,
        cached: Mapping[str, Cached] | None = None,
        augment: Mapping[str, Callable[[Any], Any]] | None = None,
        decoding: Mapping[str, Mapping[str, Any]] | None = None,
        quarantine: Quarantine | None = None,
        limits: Limits = LIMITS,
        samples: Sequence[Sample] | None = None,
    ) -> None:
        self.cached: dict[str, Cached] = dict(cached or {})
        self.encoders = {name: encoder for name, encoder in encoders.items() if name not in self.cached}
        self.augment = dict(augment or {})
        self.decoding = dict(decoding or {})
        self.quarantine = quarantine
        self.limits = limits
        self.samples = samples
        self.columns = tuple(dict.fromkeys([*encoders, *self.cached]))
        for what, given in (("augment", self.augment), ("decoding", self.decoding)):
            if unknown := sorted(set(given) - set(self.encoders)):
                raise ValueError(
                    f"{what} for {unknown}: expected columns that are decoded, {sorted(self.encoders)}"
                    + (f"; {sorted(self.cached)} come from the cache" if self.cached else "")
                )

    @classmethod
    def with_cache(
        cls,
        samples: Sequence[Sample],
        encoders: Mapping[str, Any],
        cache: FeatureCache,
        what: Literal["pooled", "tokens"] = "pooled",
        *,
        augment: Mapping[str, Callable[[Any], Any]] | None = None,
        decoding: Mapping[str, Mapping[str, Any]] | None = None,
        quarantine: Quarantine | None = None,
        limits: Limits = LIMITS,
        batch_size: int = 32,
        progress: bool = True,
    ) -> Collator:
        """The collator to train with: it reads from the cache what it can and decodes the rest every step.

        A column comes from the cache when its encoder is frozen (no parameter of it takes gradients: freeze
        it before) and no augmentation is asked for it; what the cache lacks is encoded here and now.
        """
        decoding = decoding or {}
        cached = {
            name: cache.of_samples(
                encoder,
                samples,
                name,
                what,
                decoding=decoding.get(name),
                quarantine=quarantine,
                limits=limits,
                batch_size=batch_size,
                progress=progress,
            )
            for name, encoder in encoders.items()
            if name not in (augment or {}) and not any(p.requires_grad for p in encoder.parameters())
        }
        return cls(
            encoders,
            cached=cached,
            augment=augment,
            decoding={name: options for name, options in decoding.items() if name not in cached},
            quarantine=quarantine,
            limits=limits,
            samples=samples,
        )

    def __call__(self, rows: Sequence[Sample | int]) -> Batch:
        samples = [row if isinstance(row, Sample) else self._at(row) for row in rows]
        columns = {
            name: self._read(name, samples) if name in self.cached else self._prepare(name, samples)
            for name in self.columns
        }
        names = dict.fromkeys(name for sample in samples for name in sample.fields)
        return Batch(
            ids=tuple(sample.id for sample in samples),
            columns=columns,
            meanings=meaning_ids([sample.meanings for sample in samples]),
            fields={name: [sample.fields.get(name) for sample in samples] for name in names},
        )

    def _at(self, place: int) -> Sample:
        if self.samples is None:
            raise ValueError(
                f"collating row {place}: got a place; pass Collator(…, samples=samples) to look it up"
            )
        return self.samples[place]

    def _read(self, name: str, samples: list[Sample]) -> Column:
        cached = self.cached[name]
        rows = [cached.row(sample.id) if name in sample.columns else None for sample in samples]
        found = [row for row in rows if row is not None]
        present = torch.tensor([row is not None for row in rows], dtype=torch.bool)
        return Column(cached.modality, cached[found] if found else {}, present)

    def _prepare(self, name: str, samples: list[Sample]) -> Column:
        encoder = self.encoders[name]
        media, present = [], []
        for sample in samples:
            one = self._decode(name, encoder.modality, sample) if name in sample.columns else None
            present.append(one is not None)
            if one is not None:
                media.append(self.augment[name](one) if name in self.augment else one)
        inputs: dict[str, Tensor] = encoder.prepare(media) if media else {}
        for key, tensor in inputs.items():
            if len(tensor) != len(media):
                raise ValueError(
                    f"column {name!r}: {type(encoder).__name__}.prepare made {key}{list(tensor.shape)} of "
                    f"{len(media)} media; expected one row an item"
                )
        return Column(encoder.modality, inputs, torch.tensor(present, dtype=torch.bool))

    def _decode(self, name: str, modality: str, sample: Sample) -> Media | None:
        declared = sample.modality.get(name)
        if declared != modality:
            raise ValueError(
                f"column {name!r} of record {sample.id!r} holds {declared}, but its encoder takes "
                f"{modality}: read the data with columns={{{name!r}: {modality!r}}} or choose another encoder"
            )
        media: Any = sample.columns[name]  # of that modality, so no messages
        if isinstance(media, Source):
            try:
                media = media.decode(limits=self.limits, **self.decoding.get(name, {}))
            except MediaError as error:
                if self.quarantine is None:
                    raise
                self.quarantine.add(sample.id, name, error)
                return None
            if self.quarantine is not None:
                self.quarantine.passed()
        return media


def collate(samples: Sequence[Sample], encoders: Mapping[str, Preparing], **options: Any) -> Batch:
    """One batch of these records; options as for `Collator`."""
    return Collator(encoders, **options)(samples)


@functools.lru_cache(maxsize=1 << 18)
def meaning_id(key: str) -> int:
    """A meaning's key as a number in [0, 2^63), the same on every machine and in every run.

    Two of a million different keys collide with a chance of 1 in 18 million.
    """
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") & (2**63 - 1)


def meaning_ids(meanings: Sequence[Sequence[str]]) -> Tensor:
    """The meaning keys of B records -> int64[B, K], padded with -1. K: most keys of a record, at least 1."""
    K = max([1, *(len(keys) for keys in meanings)])
    return torch.tensor(
        [[meaning_id(key) for key in keys] + [-1] * (K - len(keys)) for keys in meanings], dtype=torch.int64
    ).view(len(meanings), K)
