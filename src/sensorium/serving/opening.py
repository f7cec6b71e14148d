"""Media of a request -> decoded media, within the server's limits, a bounded number of bytes at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sensorium.media import Limits, Media, Source, bytes_held

HELD = 2**27  # bytes of decoded media that are held at a time: 128 MB


def opened(item: Source | Media, limits: Limits) -> Media:
    """Decoded, unless it is already. Raises MediaError for what cannot be decoded or is beyond the limits."""
    return item.decode(limits=limits) if isinstance(item, Source) else item


def portions(media: Iterable[Media]) -> Iterator[list[Media]]:
    """The media in lists that hold little more than `HELD` bytes; each is decoded when its list is made."""
    portion: list[Media] = []
    size = 0
    for medium in media:
        portion.append(medium)
        size += bytes_held(medium)
        if size >= HELD:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
