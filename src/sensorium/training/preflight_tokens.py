"""What the preflight says of conversations: the first one decoded, what of it is supervised, what is real.

TokenBatch + the messages it was made of + tokenizer -> words | TrainingError
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.data.conversation import ConversationError, Medium, media_key, parse
from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.packing import real_share
from sensorium.data.sample import Sample
from sensorium.data.tokens import NO_TARGET, TokenBatch
from sensorium.features import Features
from sensorium.training import describe, distributed
from sensorium.training.run import TrainingError

SHOWN = 4000  # characters of a conversation


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
                f"of {tokens} tokens; give Renderer(lengths={{{name!r}: …}}) the length of this model's "
                "projector"
            )
    if batch.left_out:
        return  # which of the media these had is not known here
    given: dict[str, set[Any]] = {}
    for medium in (medium for item in items for medium in media(collate, item)):
        given.setdefault(medium.name, set()).add(media_key(medium.media))
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
    """The first row as the data give it, a turn a line, and as the model reads it.

    The first that is not in quarantine, collated alone: in a packed batch it stands anywhere.
    """
    for item in items:
        try:
            batch = collate([item])
        except ConversationError:  # in quarantine; the whole batch is not, or it would not be here
            continue
        sample = _looked_up(collate, item)
        lines = [f"id: {sample.id}"] if isinstance(sample, Sample) else []
        for turn in parse(_messages(collate, sample)):
            parts = [_said(part) if isinstance(part, Medium) else repr(part) for part in turn.parts]
            lines.append(f"{turn.role}: {' '.join(parts)}")
        return "\n".join(lines), decoded(model, batch)
    raise AssertionError("a batch of conversations none of which can be collated")


def decoded(model: nn.Module, batch: TokenBatch) -> str:
    """The first conversation of row 0 as the model reads it: media as ⟨image ×16⟩, what it must write in «…»."""
    tokenizer = getattr(getattr(model, "backbone", None), "tokenizer", None)
    places = _first_conversation(batch)
    names = [next((name for name, slots in batch.slots.items() if slots[0, place]), None) for place in places]
    if batch.decoder_ids is None:
        follows = batch.targets[0, places].tolist()
        ids = [*batch.ids[0, places].tolist(), follows[-1]]
        supervised = [False, *(target != NO_TARGET for target in follows)]
        names.append(None)
        if not supervised[-1]:
            ids, supervised, names = ids[:-1], supervised[:-1], names[:-1]
    else:
        answer = batch.targets[0][batch.targets[0] != NO_TARGET].tolist()
        ids = batch.ids[0, places].tolist() + answer
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


def media(collate: Any, item: Any) -> list[Medium]:
    """The media in a row's messages."""
    try:
        turns = parse(_messages(collate, _looked_up(collate, item)))
    except ConversationError as error:
        raise TrainingError(str(error)) from error
    return [part for turn in turns for part in turn.parts if isinstance(part, Medium)]


def rows(inputs: Mapping[str, Tensor] | Features) -> int:
    """N of N media."""
    return len(inputs) if isinstance(inputs, Features) else len(next(iter(inputs.values())))


def _first_conversation(batch: TokenBatch) -> list[int]:
    """The places in row 0 that the first supervised token's conversation is made of, its beginning included."""
    assert batch.attend is not None
    if batch.attend.dim() == 2:
        return torch.nonzero(batch.attend[0])[:, 0].tolist()
    targets = torch.nonzero(batch.targets[0] != NO_TARGET)[:, 0]
    place = int(targets[0]) if len(targets) else 0
    # What it sees, and what sees it: it stands in a branch, never in a shared beginning.
    return torch.nonzero(batch.attend[0, place] | batch.attend[0, :, place])[:, 0].tolist()


def _looked_up(collate: Any, item: Any) -> Any:
    if isinstance(collate, ConversationCollator) and collate.samples is not None and isinstance(item, int):
        return collate.samples[item]
    return item


def _messages(collate: Any, sample: Any) -> Any:
    column = collate.column if isinstance(collate, ConversationCollator) else "messages"
    return sample.columns[column] if isinstance(sample, Sample) else sample


def _said(medium: Medium) -> str:
    return f"⟨{medium.name}: {describe.value(medium.media)}⟩"


def _names(batch: TokenBatch) -> str:
    some = ", ".join(batch.names[: describe.SHOWN])
    more = len(batch.names) - describe.SHOWN
    return f"{some} and {more} more" if more > 0 else some
