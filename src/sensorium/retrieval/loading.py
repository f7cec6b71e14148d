"""Hashing and decoding beside the encoder: threads load the next items while the model embeds these.

Items -> Loaded, in chunks of one modality, within a memory budget
"""

from __future__ import annotations

import io
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from sensorium.media import Audio, Limits, Media, MediaError, Source, Video, content_key
from sensorium.retrieval.items import Item

CHUNK_ITEMS = 256
CHUNK_BYTES = 128 * 2**20  # of decoded media; three chunks are alive at once
THUMBNAIL = 160  # pixels, longest side
QUALITY = 82

T = TypeVar("T")


@dataclass(frozen=True)
class Loaded:
    """An item that was hashed and, unless the index has it already, decoded.

    key:       modality and sha256 of the content; "" when it could not even be read
    media:     decoded; None when known or bad
    thumbnail: a small JPEG of pictures and clips
    error:     why it is bad
    """

    item: Item
    key: str = ""
    media: Media | None = None
    thumbnail: bytes | None = None
    error: MediaError | None = None


def load(item: Item, known: Callable[[Item, str], bool], limits: Limits) -> Loaded:
    """Hash an item, and decode it unless `known` says that the index has it."""
    try:
        key = f"{item.modality}:{content_key(item.media)}"
        if known(item, key):
            return Loaded(item, key)
        media = item.media.decode(limits=limits) if isinstance(item.media, Source) else item.media
    except MediaError as error:
        return Loaded(item, error=error)
    return Loaded(item, key, media, thumbnail(media))


def thumbnail(media: Media) -> bytes | None:
    """A picture, or the middle frame of a clip -> JPEG bytes, longest side 160; None for sound and words."""
    if isinstance(media, Video):
        media = media.frames[len(media.frames) // 2]
    if not isinstance(media, np.ndarray) or media.ndim != 3:
        return None
    # A reduced copy first: Lanczos over twelve megapixels would take longer than encoding the picture.
    step = max(1, max(media.shape[:2]) // (4 * THUMBNAIL))
    small = Image.fromarray(np.ascontiguousarray(media[::step, ::step]))
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def chunks_of(
    items: Iterable[Item], known: Callable[[Item, str], bool], limits: Limits, threads: int | None = None
) -> Generator[list[Loaded]]:
    """Loaded items in their order, in chunks of one modality, at most 256 items or 128 MB each.

    The next chunk is being loaded while the caller works on this one.
    """
    threads = threads or min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, "load") as pool:
        loaded = _in_order(pool, items, lambda item: load(item, known, limits), ahead=2 * threads)
        yield from ahead(_chunks(loaded))


def _in_order(
    pool: ThreadPoolExecutor, items: Iterable[Item], work: Callable[[Item], Loaded], ahead: int
) -> Iterator[Loaded]:
    waiting: deque[Future[Loaded]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _chunks(loaded: Iterable[Loaded]) -> Iterator[list[Loaded]]:
    chunk: list[Loaded] = []
    size = 0
    for one in loaded:
        if chunk and (
            one.item.modality != chunk[0].item.modality or len(chunk) == CHUNK_ITEMS or size >= CHUNK_BYTES
        ):
            yield chunk
            chunk, size = [], 0
        chunk.append(one)
        size += _bytes(one.media)
    if chunk:
        yield chunk


def _bytes(media: Media | None) -> int:
    if isinstance(media, Audio):
        return media.samples.nbytes
    if isinstance(media, Video):
        return media.frames.nbytes
    return media.nbytes if isinstance(media, np.ndarray) else len(media or "")


def ahead(iterator: Iterator[T]) -> Iterator[T]:
    """The same values, each computed in a thread while the caller works on the one before; errors, too.

    When the caller stops early, the thread ends after the value at hand.
    """
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def hand_over(kind: str, value: T | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue

    def run() -> None:
        try:
            for value in iterator:
                hand_over("value", value)
                if stopped.is_set():
                    return
            hand_over("end", None)
        except BaseException as error:  # noqa: BLE001 — raised again where the caller waits
            hand_over("error", error)

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(value, BaseException)
                raise value
            yield value  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
