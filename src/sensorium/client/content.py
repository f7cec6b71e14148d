"""Words and media as they travel: paths and bytes -> parts of messages, rows, data URIs."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MEDIA = ("image", "audio", "video")
Given = str | bytes | os.PathLike  # words (text), or media: a path, or the bytes of a file


def parts_of(text: str, **media: Any) -> list[dict[str, Any]]:
    """A question and what it is about, as parts of a message: media first."""
    parts = []
    for modality, given in media.items():
        one_state = modality == "state" and given is not None and not isinstance(given[0], list | tuple)
        items = (
            [] if given is None else given if isinstance(given, list | tuple) and not one_state else [given]
        )
        parts += [part_of(modality, item) for item in items]
    return [*parts, {"type": "text", "text": text}]


def part_of(modality: str, item: Any) -> dict[str, Any]:
    if modality == "state":
        return {"type": "state", "state": [float(number) for number in item]}
    return {"type": f"{modality}_url", f"{modality}_url": {"url": uri_of(item)}}


def message_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of the conversation format as the server takes it; parts in its own format stay as they are."""
    content = message.get("content")
    if not isinstance(content, list):
        return dict(message)
    parts = [
        part_of(part["type"], part[part["type"]]) if part.get("type") in (*MEDIA, "state") else part
        for part in content
    ]
    return {**message, "content": parts}


def thing_of(modality: str, item: Given) -> Any:
    return item if modality == "text" else {modality: uri_of(item)}


def content_of(modality: str, item: Any) -> Any:
    """What stands in a row: media travel, everything else as it is."""
    return uri_of(item) if modality in MEDIA else item


def uri_of(item: Given) -> str:
    """Media as a data URI; what they are the server reads from the bytes. One that is a data URI stays."""
    if isinstance(item, str) and item[:5] == "data:":
        return item
    return "data:application/octet-stream;base64," + base64.b64encode(bytes_of(item)).decode()


def bytes_of(item: Given) -> bytes:
    return item if isinstance(item, bytes) else Path(item).expanduser().read_bytes()
