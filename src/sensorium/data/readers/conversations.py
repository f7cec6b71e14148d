"""Files of conversations: LLaVA's, and lists of messages -> samples with a column of messages.

{"id": …, "image": "a.jpg", "conversations": [{"from": "human", "value": "<image>\\nWhat is this?"}, …]}
{"id": …, "images": ["a.jpg"], "messages": [{"role": "user", "content": "<image>What is this?"}, …]}
{"id": …, "messages": [{"role": "user", "content": [{"type": "image", "image": "a.jpg"}, …]}, …]}
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium.data.conversation import CONVERSATION, ConversationError, parse
from sensorium.data.readers.rows import Layout, ReaderError, Samples, check_ids, is_missing
from sensorium.data.readers.table import table_rows
from sensorium.data.sample import Sample
from sensorium.media import Source

SPEAKERS = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant", "system": "system"}
KINDS = ("image", "video", "audio")  # "<image>" in a text stands for the next of the row's images
_PLACE = re.compile(f"<({'|'.join(KINDS)})>")
_COLUMN = "messages"


def read_conversations(
    path: str | os.PathLike,
    *,
    media: str | os.PathLike | None = None,
    id: str | None = "id",
    allow_outside: bool = False,
) -> Samples:
    """The conversations of a JSON or JSONL file; all cells but messages and media become fields.

    media:         the folder that paths are relative to; None: the file's own
    id:            the cell of ids; rows without it are called "<file>:<number>"
    allow_outside: let paths lead out of that folder

    "<image>", "<video>" and "<audio>" in a text stand for the row's media of that kind, in order; the text
    around them stays as it is. Media are opened when they are needed. Raises `ReaderError` with the row.
    """
    file = Path(path)
    folder = file.parent if media is None else Path(media)
    layout = Layout({kind: kind for kind in KINDS}, None, folder=folder, allow_outside=allow_outside)
    samples = Samples(
        _sample(row, f"{file.name}:{number}", f"{file}:{number}", id, layout)
        for number, row in table_rows(file)
    )
    check_ids(samples, str(file))
    return samples


def _sample(row: Mapping[str, Any], default: str, where: str, id: str | None, layout: Layout) -> Sample:
    key = next((name for name in ("conversations", _COLUMN) if name in row), None)
    if key is None or not isinstance(row[key], list):
        raise ReaderError(
            f"{where}: got the cells {list(row)}; expected a list called 'conversations' or 'messages'"
        )
    waiting = {kind: _media_of(row, kind, where, layout) for kind in KINDS}
    messages = [
        _message(turn, f"{where}, message {number}", waiting, layout)
        for number, turn in enumerate(row[key], 1)
    ]
    if left := {kind: len(media) for kind, media in waiting.items() if media}:
        raise ReaderError(
            f"{where}: media that no message mentions, {left}; put <{next(iter(left))}> where each belongs"
        )
    try:
        parse(messages, where)
    except ConversationError as error:
        raise ReaderError(str(error)) from error
    used = {key, id, *KINDS, *(f"{kind}s" for kind in KINDS)}
    given = row.get(id) if id is not None else None
    columns: dict[str, Any] = {_COLUMN: messages}
    return Sample(
        default if is_missing(given) else str(given),
        columns,
        {_COLUMN: CONVERSATION},
        fields={name: cell for name, cell in row.items() if name not in used},
    )


def _media_of(row: Mapping[str, Any], kind: str, where: str, layout: Layout) -> list[Source]:
    cell = row.get(kind, row.get(f"{kind}s", []))
    paths = cell if isinstance(cell, list) else [cell]
    return [_source(path, kind, where, layout) for path in paths if not is_missing(path)]


def _source(path: Any, kind: str, where: str, layout: Layout) -> Any:
    """Under the rules for paths that every list of media has."""
    return layout.sample({kind: path}, where, where).columns[kind]


def _message(turn: Any, where: str, waiting: dict[str, list[Source]], layout: Layout) -> dict[str, Any]:
    if not isinstance(turn, Mapping):
        raise ReaderError(f'{where}: got {type(turn).__name__}; expected {{"from": …, "value": …}}')
    speaker = turn.get("from", turn.get("role"))
    content = turn.get("value", turn.get("content"))
    if speaker not in SPEAKERS:
        raise ReaderError(f"{where}: unknown speaker {speaker!r}; expected one of {', '.join(SPEAKERS)}")
    if isinstance(content, str):
        return {"role": SPEAKERS[speaker], "content": _filled(content, where, waiting)}
    if not isinstance(content, list):
        raise ReaderError(f"{where}: got {type(content).__name__}; expected a text or a list of parts")
    return {"role": SPEAKERS[speaker], "content": [_resolved(part, where, layout) for part in content]}


def _filled(text: str, where: str, waiting: dict[str, list[Source]]) -> str | list[dict[str, Any]]:
    pieces = _PLACE.split(text)  # text, kind, text, kind, …, text
    if len(pieces) == 1:
        return text
    parts: list[dict[str, Any]] = []
    for number, piece in enumerate(pieces):
        if number % 2:
            if not waiting[piece]:
                raise ReaderError(f"{where}: <{piece}> without one; the row names fewer {piece} files")
            parts.append({"type": piece, piece: waiting[piece].pop(0)})
        elif piece:
            parts.append({"type": "text", "text": piece})
    return parts


def _resolved(part: Any, where: str, layout: Layout) -> Any:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in KINDS and isinstance(part.get(kind), str):
        return {**part, kind: _source(part[kind], kind, where, layout)}
    return part
