"""Conversations -> one `TokenBatch`: decoding, rendering, packing, preparation of the media.

[Sample with messages | messages] + renderer + encoders (or their cached Features) -> TokenBatch
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from torch import Tensor

from sensorium.data.batch import Preparing
from sensorium.data.conversation import ConversationError, Medium, Renderer, Turn, media_key, parse
from sensorium.data.feature_cache import CachedFeatures, FeatureCache
from sensorium.data.packing import pack, pair
from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Sample
from sensorium.data.tokens import TokenBatch
from sensorium.features import Features
from sensorium.media import LIMITS, Limits, MediaError, Source

Row = Sample | Sequence[Mapping[str, Any]] | int


@dataclass(frozen=True)
class CachedMedia:
    """The Features of one encoder's media in many conversations.

    rows: (id of the sample, number of the medium in it, from 0) -> row of `features`; media in quarantine
          have none
    """

    features: CachedFeatures
    rows: Mapping[tuple[str, int], int]


class ConversationCollator:
    """[Sample | messages | place] -> TokenBatch, for `DataLoader(collate_fn=…)` and `Run(collate=…)`.

    renderer:       how conversations become token ids
    encoders:       by name, as the model has them; only `prepare` and `modality` are used. Those in `cached`
                    are not needed
    cached:         by encoder name, Features computed before (`with_cache`)
    samples:        when given, rows may come as places in it: `Run(data=range(len(samples)), …)`
    column:         of messages, in samples
    group:          the field that says which samples may begin alike (a scene's id); None: those whose first
                    medium is the same
    length:         positions of a row, as in `packing.pack`
    share_prefixes: store what conversations about one picture begin with once
    start:          give the decoder's first id (`config.decoder_start_token_id`) for an encoder-decoder
    augment:        by encoder name, decoded media -> decoded media. Draw from the global random states
    decoding:       by encoder name, options of `Source.decode`
    quarantine:     where media that cannot be decoded goes; None raises its `MediaError`

    A conversation that has a medium in quarantine is left out of the batch, whole: without its picture the
    answer would teach the model to guess. `TokenBatch.left_out` counts them.
    Media that several conversations of the batch share (the same object or file) are decoded once.
    """

    def __init__(
        self,
        renderer: Renderer,
        encoders: Mapping[str, Preparing],
        *,
        cached: Mapping[str, CachedMedia] | None = None,
        samples: Sequence[Sample] | None = None,
        column: str = "messages",
        group: str | None = None,
        length: int | None = None,
        share_prefixes: bool = True,
        start: int | None = None,
        augment: Mapping[str, Callable[[Any], Any]] | None = None,
        decoding: Mapping[str, Mapping[str, Any]] | None = None,
        quarantine: Quarantine | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self.renderer, self.samples, self.column, self.group = renderer, samples, column, group
        self.cached = dict(cached or {})
        self.encoders = {name: encoder for name, encoder in encoders.items() if name not in self.cached}
        self.length, self.share_prefixes, self.start = length, share_prefixes, start
        self.augment, self.decoding = dict(augment or {}), dict(decoding or {})
        self.quarantine, self.limits = quarantine, limits
        known = {*self.encoders, *self.cached}
        if missing := sorted(set(renderer.lengths) - known):
            raise ValueError(f"the renderer has lengths for {missing}; expected an encoder for each")
        for what, given in (("augment", self.augment), ("decoding", self.decoding)):
            if unknown := sorted(set(given) - set(self.encoders)):
                raise ValueError(
                    f"{what} for {unknown}: expected encoders whose media are decoded, {sorted(self.encoders)}"
                )

    @classmethod
    def with_cache(
        cls,
        samples: Sequence[Sample],
        renderer: Renderer,
        encoders: Mapping[str, Any],
        cache: FeatureCache,
        what: Literal["pooled", "tokens"] = "tokens",
        *,
        column: str = "messages",
        augment: Mapping[str, Callable[[Any], Any]] | None = None,
        decoding: Mapping[str, Mapping[str, Any]] | None = None,
        quarantine: Quarantine | None = None,
        limits: Limits = LIMITS,
        batch_size: int = 32,
        progress: bool = True,
        dtype: Literal["float32", "float16"] = "float32",
        **options: Any,
    ) -> ConversationCollator:
        """The collator to train with: media of frozen encoders are read from the cache, the rest decoded.

        An encoder's media come from the cache when none of its parameters takes gradients (freeze it before)
        and no augmentation is asked for it. Each different medium is encoded once. dtype: as it is stored;
        options: of the constructor.
        """
        decoding = decoding or {}
        found: dict[str, dict[tuple[str, int], Medium]] = {}
        for sample in samples:
            messages: Any = sample.columns[column]
            for number, medium in enumerate(_media(parse(messages, sample.id))):
                found.setdefault(medium.name, {})[sample.id, number] = medium
        cached = {}
        for name, encoder in encoders.items():
            learns = any(parameter.requires_grad for parameter in encoder.parameters())
            if learns or name in (augment or {}) or name not in found:
                continue
            different: dict[Any, int] = {}
            places = {
                where: different.setdefault(media_key(medium.media), len(different))
                for where, medium in found[name].items()
            }
            first = {row: where for where, row in reversed(places.items())}
            features = cache.features(
                encoder,
                [found[name][first[row]].media for row in range(len(different))],
                what,
                batch_size=batch_size,
                progress=progress,
                dtype=dtype,
                decoding=decoding.get(name),
                quarantine=quarantine,
                limits=limits,
                ids=[first[row][0] for row in range(len(different))],
                column=name,
            )
            present = features.present.tolist()
            cached[name] = CachedMedia(
                features, {where: row for where, row in places.items() if present[row]}
            )
        return cls(
            renderer,
            encoders,
            cached=cached,
            samples=samples,
            column=column,
            augment=augment,
            decoding={name: options_ for name, options_ in decoding.items() if name not in cached},
            quarantine=quarantine,
            limits=limits,
            **options,
        )

    def __call__(self, rows: Sequence[Row]) -> TokenBatch:
        reading = _Reading(self)
        rendered, groups, names = [], [], []
        for number, row in enumerate(rows):
            sample = self._at(int(row)) if isinstance(row, int | np.integer) else row
            [(name, messages)] = self.conversations(sample, number)
            turns = reading.turns(parse(messages, name), name)
            if turns is None:
                continue
            rendered.append(self.renderer.render(turns, where=name))
            groups.append(sample.fields.get(self.group or "") if isinstance(sample, Sample) else None)
            names.append(name)
        if not rendered:
            raise ConversationError(
                f"all {len(rows)} conversations of this batch have media that cannot be decoded; look at the "
                "quarantine file"
            )
        packed = (
            pack(rendered, self.length, groups, self.share_prefixes)
            if self.start is None
            else pair(rendered, self.start, self.renderer.placeholder)
        )
        media = {name: reading.inputs(name, found) for name, found in packed.media.items()}
        return replace(packed.batch(media, names), left_out=len(rows) - len(rendered))

    def conversations(self, row: Row, number: int = 0) -> list[tuple[str, Any]]:
        """The one (id, messages) that a row is; what the preflight shows. `number` names what has no id."""
        sample = self._at(int(row)) if isinstance(row, int | np.integer) else row
        if not isinstance(sample, Sample):
            return [(f"conversation {number}", sample)]
        if self.column not in sample.columns:
            raise ConversationError(f"{sample.id}: it has no column {self.column!r}")
        return [(sample.id, sample.columns[self.column])]

    def _at(self, place: int) -> Sample:
        if self.samples is None:
            raise ValueError(
                f"collating row {place}: got a place; pass ConversationCollator(…, samples=samples)"
            )
        return self.samples[place]


@dataclass(frozen=True, eq=False)
class _Row:
    """A row of cached Features. One object a row and batch, so that packing sees what is shared."""

    number: int


class _Reading:
    """The media of one batch: each decoded, or read from the cache, once."""

    def __init__(self, collator: ConversationCollator) -> None:
        self.collator = collator
        # By what is read: that, held so that its identity stays its own; what was made of it; its length.
        self.done: dict[Any, tuple[Any, Any, int | None]] = {}

    def turns(self, turns: tuple[Turn, ...], id: str) -> tuple[Turn, ...] | None:
        """With every medium as the model is given it; None when one of them is in quarantine."""
        number, read, whole = 0, [], True
        for turn in turns:
            parts: list[str | Medium] = []
            for part in turn.parts:
                if isinstance(part, Medium):
                    _, medium, length = self._read(part, id, number)
                    number += 1
                    whole = whole and medium is not None
                    parts.append(replace(part, media=medium, length=length))
                else:
                    parts.append(part)
            read.append(Turn(turn.role, tuple(parts)))
        return tuple(read) if whole else None

    def inputs(self, name: str, media: Sequence[Any]) -> dict[str, Tensor] | Features:
        if name in self.collator.cached:
            return self.collator.cached[name].features[[row.number for row in media]]
        inputs: dict[str, Tensor] = self.collator.encoders[name].prepare(media)
        return inputs

    def _read(self, part: Medium, id: str, number: int) -> tuple[Any, Any, int | None]:
        collator, name = self.collator, part.name
        if name in collator.cached:
            cached = collator.cached[name]
            row = cached.rows.get((id, number))
            if row is None:
                return None, None, None
            if (name, row) not in self.done:
                length = collator.renderer.lengths[name]
                tokens = length if isinstance(length, int) else length(cached.features[row])
                self.done[name, row] = None, _Row(row), tokens
            return self.done[name, row]
        encoder = collator.encoders.get(name)
        if encoder is None:
            raise collator.renderer.no_encoder(name, id)
        if encoder.modality != part.modality:
            raise ConversationError(
                f"{id}: a part of type {part.modality!r} for the encoder {name!r}, which takes {encoder.modality}"
            )
        key = (name, media_key(part.media))
        if key not in self.done:
            self.done[key] = part.media, self._decoded(part, id), None
        return self.done[key]

    def _decoded(self, part: Medium, id: str) -> Any:
        collator, media = self.collator, part.media
        if isinstance(media, Source):
            try:
                media = media.decode(limits=collator.limits, **collator.decoding.get(part.name, {}))
            except MediaError as error:
                if collator.quarantine is None:
                    raise
                collator.quarantine.add(id, part.name, error)
                return None
            if collator.quarantine is not None:
                collator.quarantine.passed()
        return collator.augment[part.name](media) if part.name in collator.augment else media


def _media(turns: Sequence[Turn]) -> list[Medium]:
    return [part for turn in turns for part in turn.parts if isinstance(part, Medium)]
