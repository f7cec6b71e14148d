"""Fills one space of the feature cache with what it lacks.

[Source | Media] -> decoded a few at a time -> encoded -> shards
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from tqdm import tqdm

from sensorium import speed
from sensorium.data.feature_shards import KEY, ShardWriter, Space
from sensorium.data.quarantine import Quarantine, QuarantineError
from sensorium.data.ranks import rank_and_world
from sensorium.features import Features
from sensorium.media import Audio, Limits, Media, MediaError, Source, Video, content_key

MEDIA_BYTES = 256 * 2**20  # decoded media held at a time
FEATURE_BYTES = 256 * 2**20  # features held at a time
FIRST_ITEMS, MOST_ITEMS = 128, 512  # encoded at a time: at first, and at most
SHARD_BYTES = 2**30  # a shard is published when it reaches this,
SHARD_SECONDS = 60.0  # or when a crash would lose this much work

T = TypeVar("T")
R = TypeVar("R")


class Encoding(Protocol):
    """What the cache needs of an encoder.

    identity: a hash of class, configuration and weights: fine-tuned weights have another one
    """

    modality: str
    width: int
    preparation: str

    @property
    def identity(self) -> str: ...

    def encode(
        self, media: Sequence[Any], batch_size: int = 32, *, what: Literal["tokens", "pooled"] = "tokens"
    ) -> Features:
        """N decoded media -> Features of N rows, float32 on the CPU, in the order given."""
        ...


@dataclass(frozen=True)
class Items:
    """N items of one column; ids name them in the quarantine. None as quarantine: bad media raises."""

    media: Sequence[Source | Media]
    ids: Sequence[str]
    column: str
    decoding: Mapping[str, Any]
    limits: Limits
    quarantine: Quarantine | None

    def keys(self) -> tuple[np.ndarray, np.ndarray]:
        """S32[N], the sha256 of every item, each hashed once; bool[N], False for unreadable files."""
        keys, present = np.zeros(len(self.media), KEY), np.ones(len(self.media), bool)
        for row, key in enumerate(_in_threads(_key, self.media, lambda media: isinstance(media, Source))):
            if isinstance(key, MediaError):
                present[row] = False
                self.set_aside(row, key)
            else:
                keys[row] = key
        return keys, present

    def decode(self, row: int, key: np.ndarray) -> Media | MediaError:
        """One item; `key` is S32[1], what it was when it was hashed."""
        media = self.media[row]
        if not isinstance(media, Source):
            return media
        try:
            decoded = media.decode(limits=self.limits, **self.decoding)
            if media.path is not None and np.array([_key(media)], KEY) != key:
                raise MediaError(
                    media.name, "a file that changed while it was read", "a file that is left alone"
                )
        except MediaError as error:
            return error
        return decoded

    def set_aside(self, row: int, error: MediaError) -> None:
        if self.quarantine is None:
            raise error
        self.quarantine.add(self.ids[row], self.column, error)

    def error_of(self, row: int, error: MediaError) -> MediaError:
        """The error of another item with the same content, under its own name."""
        media = self.media[row]
        return MediaError(media.name if isinstance(media, Source) else error.file, error.got, error.accepted)

    def passed(self, count: int) -> None:
        if self.quarantine is not None:
            self.quarantine.passed(count)


def fill(
    space: Space, encoder: Encoding, items: Items, batch_size: int, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Encode what the space lacks. Returns the keys S32[N] and bool[N], False where the media is bad."""
    keys, present = items.keys()
    space.refresh()
    unique, first, count = np.unique(keys[present], return_index=True, return_counts=True)
    first = np.flatnonzero(present)[first]
    lacking = space.locate(unique)[0] < 0
    items.passed(int(count[~lacking].sum()))
    missing = np.sort(first[lacking])  # of equal items the first, in the order given
    if len(missing):
        rank, world = rank_and_world()
        missing = np.roll(missing, -(rank * len(missing) // world))  # processes begin at different places
        counts = dict(zip(first.tolist(), count.tolist()))
        filling = _Filling(space, encoder, items, keys, counts, batch_size)
        with tqdm(total=len(missing), desc=f"encoding {items.column}", unit="", disable=not progress) as bar:
            filling.run(missing, bar)
        present &= ~np.isin(keys, keys[filling.bad])
    return keys, present


class _Filling:
    """One call's work: what it has written, which rows were bad."""

    def __init__(
        self,
        space: Space,
        encoder: Encoding,
        items: Items,
        keys: np.ndarray,
        counts: Mapping[int, int],
        batch_size: int,
    ) -> None:
        self.space, self.encoder, self.items, self.batch_size = space, encoder, items, batch_size
        self.keys, self.counts = keys, counts  # how many items equal the first of them, by its row
        self.bad: list[int] = []
        self.written: list[str] = []
        self.writer: ShardWriter | None = None
        self.begun = 0.0

    def run(self, missing: np.ndarray, bar: tqdm) -> None:
        place, size = 0, FIRST_ITEMS
        try:
            while place < len(missing):
                block = missing[place : place + size]
                place += size
                self.space.refresh()  # another process may have published some of these by now
                lacking = block[self.space.locate(self.keys[block])[0] < 0]
                bar.update(len(block) - len(lacking))
                bad = len(self.bad)
                for rows, media in self._decoded(lacking):
                    item_bytes = self._encode(np.array(rows), media)
                    size = min(MOST_ITEMS, max(self.batch_size, FEATURE_BYTES // item_bytes))
                    bar.update(len(rows))
                bar.update(len(self.bad) - bad)
            self._publish()
        except QuarantineError:
            self._publish()  # what was good need not be computed again once the rest is repaired
            raise
        except BaseException:
            if self.writer is not None:
                self.writer.abandon()
            raise
        self.space.tidy(self.written)

    def _decoded(self, block: np.ndarray) -> Iterator[tuple[list[int], list[Media]]]:
        """The media of these rows in groups that fit in memory, bad ones set aside."""
        rows: list[int] = []
        group: list[Media] = []
        held = 0
        decoded = _in_threads(lambda row: self.items.decode(row, self.keys[row : row + 1]), block.tolist())
        for row, media in zip(block.tolist(), decoded):
            if isinstance(media, MediaError):
                self.bad.append(row)
                for other in np.flatnonzero(self.keys == self.keys[row]).tolist():
                    self.items.set_aside(other, self.items.error_of(other, media))
                continue
            self.items.passed(self.counts[row])
            rows.append(row)
            group.append(media)
            held += _bytes_of(media)
            if held >= MEDIA_BYTES:
                yield rows, group
                rows, group, held = [], [], 0
        if rows:
            yield rows, group

    def _encode(self, rows: np.ndarray, media: list[Media]) -> int:
        """Encode and append one group; returns the bytes that an item's features take in memory."""
        what: Literal["tokens", "pooled"] = "tokens" if self.space.ragged else "pooled"
        features = self.encoder.encode(media, batch_size=self.batch_size, what=what)
        name = type(self.encoder).__name__
        pooled, tokens = features.pooled.numpy(), features.tokens.numpy()
        if pooled.shape != (len(media), self.space.width):
            raise ValueError(
                f"{name} made {list(pooled.shape)} of {len(media)} media; expected {self.space.width} wide"
            )
        whole = np.isfinite(pooled).all(axis=1) & np.isfinite(tokens).all(axis=(1, 2))
        if not whole.all():
            bad = self.items.ids[rows[np.argmin(whole)]]
            raise ValueError(f"{name} made infinite or undefined features of {bad!r}; they are not kept")
        if self.writer is None:
            self.writer, self.begun = (
                ShardWriter(self.space.folder, self.space.dtype, self.space.ragged),
                time.monotonic(),
            )
        lengths = features.mask.sum(dim=1).tolist()
        sequences = (tokens[i, :T] for i, T in enumerate(lengths)) if self.space.ragged else None
        self.writer.append(self.keys[rows], pooled, sequences)
        if self.writer.bytes >= SHARD_BYTES or time.monotonic() - self.begun >= SHARD_SECONDS:
            self._publish()
        return int(max(1, (tokens.nbytes + pooled.nbytes) // len(media)))

    def _publish(self) -> None:
        if self.writer is not None:
            self.written.append(self.writer.publish())
            self.writer = None


def _key(media: Source | Media) -> bytes | MediaError:
    try:
        return bytes.fromhex(content_key(media))
    except MediaError as error:
        return error


def _in_threads(
    function: Callable[[T], R], things: Iterable[T], slow: Callable[[T], bool] = lambda thing: True
) -> Iterator[R]:
    """`function` of each thing, in order, slow ones a few ahead: reading and decoding run side by side."""
    threads = speed.usable_cpus()
    ahead: deque[Callable[[], R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for thing in things:
            ahead.append(pool.submit(function, thing).result if slow(thing) else partial(function, thing))
            if len(ahead) > 2 * threads:
                yield ahead.popleft()()
        while ahead:
            yield ahead.popleft()()


def _bytes_of(media: Media) -> int:
    if isinstance(media, Audio):
        return int(media.samples.nbytes)
    if isinstance(media, Video):
        return int(media.frames.nbytes)
    return len(media) if isinstance(media, str) else int(media.nbytes)
