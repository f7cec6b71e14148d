"""What requests name as input -> words and `Source`s, each with its modality.

"words" | {"image": "data:…"} | {"type": "image_url", …} ──► (modality, str | Source)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.media import Source
from sensorium.serving.errors import ApiError
from sensorium.serving.intake import media_read, part_read
from sensorium.serving.settings import Settings
from sensorium.serving.wire import Message

GIVEN = ("text", "image", "audio", "video")


def invalid(param: str, message: str) -> ApiError:
    return ApiError(400, f"{param}: {message}", param=param)


def listed(given: Any, settings: Settings, param: str = "input") -> list[Any]:
    """One thing or a list of them -> a list. Raises ApiError for none, too many, and token ids."""
    things = list(given) if isinstance(given, list) else [given]
    if not things:
        raise invalid(param, "got an empty list; expected at least one thing")
    if any(isinstance(thing, int | list) for thing in things):
        raise invalid(
            param,
            "got token ids, of which each model has others; send the text itself (a string, or a list of them)",
        )
    if len(things) > settings.inputs:
        raise invalid(param, f"got {len(things)} things; at most {settings.inputs} are taken in one request")
    return things


async def things_of(given: Any, settings: Settings, param: str = "input") -> list[tuple[str, Source | str]]:
    """The input of a request, in its order. Raises ApiError or Refused."""
    things = listed(given, settings, param)
    where = [
        param if given is not things and len(things) == 1 else f"{param}[{n}]" for n in range(len(things))
    ]
    return [await thing_of(thing, settings, place) for thing, place in zip(things, where, strict=True)]


async def thing_of(thing: Any, settings: Settings, where: str) -> tuple[str, Source | str]:
    """One of them."""
    if isinstance(thing, str):
        return "text", words(thing, settings, where)
    if not isinstance(thing, Mapping):
        raise invalid(
            where, f'got {_kind(thing)}; expected a string or an object such as {{"image": "data:…"}}'
        )
    if thing.get("type") == "text":
        return "text", words(thing.get("text"), settings, where)
    if "type" in thing:
        source = await part_read(thing, settings, where)
        return source.modality, source
    if len(thing) != 1 or not set(thing) <= set(GIVEN):
        raise invalid(
            where,
            f"got the keys {', '.join(map(str, thing))[:200] or 'none'}; expected one of {', '.join(GIVEN)}",
        )
    [(modality, content)] = thing.items()
    return modality, await of_modality(modality, content, settings, f"{where}.{modality}")


async def of_modality(modality: str, content: Any, settings: Settings, where: str) -> Source | str:
    """Words as they are, media from their data URI (or a part of a message)."""
    if modality == "text":
        return words(content, settings, where)
    if isinstance(content, Mapping):
        source = await part_read(content, settings, where)
        if source.modality != modality:
            raise invalid(where, f"got {source.modality}; expected {modality}")
        return source
    return await media_read(modality, content, settings, where)


def words(text: Any, settings: Settings, where: str) -> str:
    """A text that is one, and not too long."""
    if not isinstance(text, str):
        raise invalid(where, f"got {_kind(text)}; expected a string")
    if not text:
        raise invalid(where, "got an empty string; expected words")
    if len(text) > settings.text:
        raise invalid(where, f"got {len(text):,} characters; at most {settings.text:,} are taken")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise invalid(where, "got half of a surrogate pair, which is no character") from error
    return text


async def messages_of(
    messages: Sequence[Message], reads: Sequence[str], settings: Settings
) -> list[dict[str, Any]]:
    """Messages in OpenAI's format -> those of `data.conversation`, media as Sources.

    reads: the modalities of the model

    Raises ApiError or Refused.
    """
    if len(messages) > settings.messages:
        raise invalid("messages", f"got {len(messages)}; at most {settings.messages} are taken")
    count = sum(
        part.get("type") != "text"
        for one in messages
        if isinstance(one.content, list)
        for part in one.content
    )
    if count > settings.attachments:
        raise invalid(
            "messages", f"got {count} media; at most {settings.attachments} are taken in one request"
        )
    read = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        message.known(where)
        role = "system" if message.role == "developer" else message.role
        content: Any = message.content
        if content is None:
            if role != "assistant":
                raise invalid(f"{where}.content", "got nothing; expected a string or a list of parts")
            content = ""
        elif isinstance(content, list):
            content = [
                await _part(part, reads, settings, f"{where}.content[{place}]")
                for place, part in enumerate(content)
            ]
        elif content:
            content = words(content, settings, f"{where}.content")
        read.append({"role": role, "content": content})
    if not any(message["role"] == "user" for message in read):
        raise invalid("messages", "got no message of a user; expected one to answer")
    return read


async def _part(
    part: Mapping[str, Any], reads: Sequence[str], settings: Settings, where: str
) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": words(part.get("text"), settings, f"{where}.text")}
    medium: Any
    if kind == "state":
        modality, medium = "state", _state(part.get("state"), f"{where}.state")
    else:
        medium = await part_read(part, settings, where)
        modality = medium.modality
    if modality not in reads:
        raise invalid(where, f"got {modality}; this model reads {', '.join(reads)}")
    return {"type": modality, modality: medium}


def _state(given: Any, where: str) -> np.ndarray:
    numbers = isinstance(given, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e30 for one in given
    )
    if not numbers or not given:
        raise invalid(where, "expected a list of numbers")
    return np.asarray(given, np.float32)


def _kind(value: Any) -> str:
    """In JSON's words."""
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        type(None): "null",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "a string")
