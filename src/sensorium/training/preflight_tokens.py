"""What the preflight says of conversations: the first one decoded, what of it is supervised, what is real.

TokenBatch + the messages it was made of + tokenizer -> words | TrainingError
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sensorium.data.conversation import ConversationError, Medium, Turn, media_key, parse
from sensorium.data.packing import real_share
from sensorium.data.sample import Sample
from sensorium.data.tokens import NO_TARGET, TokenBatch
from sensorium.features import Features
from sensorium.media import Source, content_key
from sensorium.training import describe, distributed
from sensorium.training.run import TrainingError

Messages = Sequence[Mapping[str, Any]]

SHOWN = 4000  # characters of a conversation


@runtime_checkable
class Conversing(Protocol):
    """A collator that says which conversations it makes of a row of the data, as (id, messages)."""

    def conversations(self, row: Any) -> Sequence[tuple[str, Messages]]: ...


def check(model: nn.Module, batch: TokenBatch, collate: Any, items: Sequence[Any]) -> None:
    """Refuse a batch in which nothing is supervised, or a medium of its conversations does not arrive.

    items: the rows that the batch was collated from. Raises TrainingError.
    """
    supervised = sum(distributed.gather(int((batch.targets != NO_TARGET).sum())))
    if not supervised:
        raise TrainingError(
            f"nothing is supervised: no token of the first batch ({_names(batch)}) is a target. The messages "
            'need turns of the role "assistant", and the chat template must write them: '
            f"it reads\n{decoded(model, batch)}"
        )
    for name, slots in batch.slots.items():
        with torch.no_grad():
            tokens = int(model.features(name, batch.media[name]).mask.sum())  # type: ignore[operator]
        if tokens != int(slots.sum()):
            raise TrainingError(
                f"{name}: the first batch has {int(slots.sum())} placeholders for {rows(batch.media[name])} media "
                f"of {tokens} tokens; lay conversations out by Renderer(tokenizer, model.lengths())"
            )
    if batch.left_out:
        return  # which of the media these had is not known here
    given: dict[str, set[Any]] = {}
    held = [conversation for item in items for conversation in conversations(collate, item)]
    for medium in (medium for _, turns in held for medium in media(turns)):
        given.setdefault(medium.name, set()).add(_content(medium.media))
    for name, keys in given.items():
        arrived = rows(batch.media[name]) if name in batch.media else 0
        if arrived < len(keys):
            raise TrainingError(
                f"media lost: the conversations of the first batch ({_names(batch)}) hold {len(keys)} different "
                f"{name}, {arrived} of them reach the model; media that stand after the last answer are never "
                "read: put them before it, or take them out"
            )


def summary(batch: TokenBatch) -> str:
    """Conversations, rows, media and the shares that say whether the batch is well spent."""
    targets, positions = int((batch.targets != NO_TARGET).sum()), batch.ids.numel()
    real = real_share(batch)
    read = real * positions + (0 if batch.decoder_ids is None else targets)
    left_out = f", {batch.left_out} left out for media in quarantine" if batch.left_out else ""
    lines = [
        f"{len(batch.names)} conversations{left_out}: {_names(batch)}",
        f"{len(batch)} rows of {batch.ids.shape[1]} positions; {real:.1%} of them are real",
        f"supervised: {targets} tokens, {targets / read:.1%} of what is read",
    ]
    for name, slots in batch.slots.items():
        count = rows(batch.media[name])
        kind = "cached Features" if isinstance(batch.media[name], Features) else "prepared"
        lines.append(f"{name}: {count} media ({kind}), {int(slots.sum()) / count:g} positions each")
    return "\n".join(lines)


def first_sample(
    model: nn.Module, collate: Callable[[list[Any]], TokenBatch], items: list[Any]
) -> tuple[str, str]:
    """The first row's conversation as the data give it, a turn a line, and as the model reads it.

    The first row that is not in quarantine, collated alone: in a packed batch it stands anywhere.
    """
    for item in items:
        try:
            batch = collate([item])
        except ConversationError:  # in quarantine; the whole batch is not, or it would not be here
            continue
        held = conversations(collate, item)
        if not held:
            return describe.sample(item), decoded(model, batch)
        [(id, turns), *others] = held
        lines = [f"id: {id}" + (f", and {len(others)} more of the same row" if others else "")]
        for turn in turns:
            parts = [_said(part) if isinstance(part, Medium) else repr(part) for part in turn.parts]
            lines.append(f"{turn.role}: {' '.join(parts)}")
        return "\n".join(lines), decoded(model, batch)
    raise AssertionError("a batch of conversations none of which can be collated")


def decoded(model: nn.Module, batch: TokenBatch) -> str:
    """The first conversation as the model reads it: media as ⟨image ×16⟩, what it must write in «…»."""
    tokenizer = getattr(getattr(model, "backbone", None), "tokenizer", None)
    row, places = _first_conversation(batch)
    names = [
        next((name for name, slots in batch.slots.items() if slots[row, place]), None) for place in places
    ]
    if batch.decoder_ids is None:
        follows = batch.targets[row, places].tolist()
        ids = [*batch.ids[row, places].tolist(), follows[-1]]
        supervised = [False, *(target != NO_TARGET for target in follows)]
        names.append(None)
        if not supervised[-1]:
            ids, supervised, names = ids[:-1], supervised[:-1], names[:-1]
    else:
        answer = batch.targets[row][batch.targets[row] != NO_TARGET].tolist()
        ids = batch.ids[row, places].tolist() + answer
        supervised = [False] * len(places) + [True] * len(answer)
        names += [None] * len(answer)
    text, at = "", 0
    while at < len(ids):
        end = at
        while end < len(ids) and (names[end], supervised[end]) == (names[at], supervised[at]):
            end += 1
        if names[at] is not None:
            text += f"⟨{names[at]} ×{end - at}⟩"
        else:
            run = str(ids[at:end]) if tokenizer is None else tokenizer.decode(ids[at:end])
            text += f"«{run}»" if supervised[at] else run
        at = end
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def conversations(collate: Any, item: Any) -> list[tuple[str, tuple[Turn, ...]]]:
    """The (id, turns) that a row of the data stands for; none when only its collator knows."""
    found: Sequence[tuple[str, Any]]
    if isinstance(collate, Conversing):
        found = collate.conversations(item)
    elif isinstance(item, Sample) and "messages" in item.columns:
        found = [(item.id, item.columns["messages"])]
    elif isinstance(item, list):
        found = [("conversation", item)]
    else:
        return []
    try:
        return [(id, parse(messages, id)) for id, messages in found]
    except ConversationError as error:
        raise TrainingError(str(error)) from error


def media(turns: Sequence[Turn]) -> list[Medium]:
    """The media of a conversation, in order."""
    return [part for turn in turns for part in turn.parts if isinstance(part, Medium)]


def rows(inputs: Mapping[str, Tensor] | Features) -> int:
    """N of N media."""
    return len(inputs) if isinstance(inputs, Features) else len(next(iter(inputs.values())))


def _first_conversation(batch: TokenBatch) -> tuple[int, list[int]]:
    """The row and the places that the first conversation is made of, its shared beginning included."""
    assert batch.attend is not None
    asked = batch.targets != NO_TARGET if batch.owners is None else batch.owners == 0
    if batch.attend.dim() == 2:
        return 0, torch.nonzero(batch.attend[0])[:, 0].tolist()
    row, place = torch.nonzero(asked)[0].tolist() if asked.any() else (0, batch.ids.shape[1] - 1)
    # What it sees, and what sees it: it stands in a branch, never in a shared beginning.
    return row, torch.nonzero(batch.attend[row, place] | batch.attend[row, :, place])[:, 0].tolist()


def _content(medium: Any) -> Any:
    """What is certainly another medium: one that shows the same may have been drawn anew for each question."""
    return media_key(medium) if isinstance(medium, Source) else content_key(medium)


def _said(medium: Medium) -> str:
    return f"⟨{medium.name}: {describe.value(medium.media)}⟩"


def _names(batch: TokenBatch) -> str:
    some = ", ".join(batch.names[: describe.SHOWN])
    more = len(batch.names) - describe.SHOWN
    return f"{some} and {more} more" if more > 0 else some
