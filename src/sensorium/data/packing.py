"""Conversations -> rows of a `TokenBatch`. The one place where labels are shifted.

[Rendered] -> Packed -> TokenBatch

A unit of packing is what several conversations about one picture make together: their common beginning once,
then what is left of each as a branch. Branches see the beginning and themselves, and go on counting from it:

    positions   0 1 2 3 4 5 │ 6 7 8 │ 6 7 8 9 │ 6 7 8
                beginning   │ one   │ another │ third

Causal attention gives the beginning the same states in all of them, so nothing changes but the cost.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.data.conversation import Rendered, media_key
from sensorium.data.tokens import NO_TARGET, TokenBatch
from sensorium.features import Features

ENOUGH = 0.97  # share of real positions with which a row length found by trying is good enough


@dataclass(frozen=True)
class Packed:
    """Rows whose media are not prepared yet; arrays as in `TokenBatch`.

    media:  by encoder name, the media in reading order of their slots
    """

    ids: np.ndarray
    targets: np.ndarray
    positions: np.ndarray | None
    attend: np.ndarray
    slots: dict[str, np.ndarray]
    media: dict[str, list[Any]]
    decoder_ids: np.ndarray | None = None
    decoder_attend: np.ndarray | None = None
    owners: np.ndarray | None = None

    def batch(
        self, media: Mapping[str, dict[str, Tensor] | Features], names: Sequence[str] = ()
    ) -> TokenBatch:
        """With the media prepared, or as Features."""

        def tensor(array: np.ndarray | None) -> Tensor | None:
            return None if array is None else torch.from_numpy(array)

        return TokenBatch(
            ids=torch.from_numpy(self.ids),
            targets=torch.from_numpy(self.targets),
            positions=tensor(self.positions),
            attend=tensor(self.attend),
            slots={name: torch.from_numpy(slots) for name, slots in self.slots.items()},
            media=media,
            decoder_ids=tensor(self.decoder_ids),
            decoder_attend=tensor(self.decoder_attend),
            names=tuple(names),
            owners=tensor(self.owners),
        )


@dataclass(frozen=True)
class _Segment:
    """Positions [start, end) of a conversation."""

    rendered: Rendered
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class _Unit:
    """A common beginning, which may be empty, and its branches."""

    beginning: _Segment | None
    branches: tuple[_Segment, ...]

    def __len__(self) -> int:
        return sum(map(len, self.branches)) + (len(self.beginning) if self.beginning else 0)


def pack(
    conversations: Sequence[Rendered],
    length: int | None = None,
    groups: Sequence[Hashable | None] | None = None,
    share_prefixes: bool = True,
) -> Packed:
    """Rows of at most `length` positions for a causal language model, first fit by decreasing size.

    length:         None takes the shortest rows that are nearly full (ENOUGH), at least as long as the largest
                    unit. Rows are cut to the fullest one
    groups:         for each conversation, a name shared by those that may begin alike (a scene's id). None:
                    those whose first medium is the same object or file
    share_prefixes: store what conversations of one group begin with once

    Raises ValueError when a conversation is longer than `length`.
    """
    if not conversations:
        raise ValueError("pack: got no conversation; expected at least one")
    units: list[_Unit] = []
    for members in _grouped(conversations, groups, share_prefixes):
        units += _shared(members, length)
    longest = max(map(len, units))
    if length is not None and longest > length:
        raise ValueError(
            f"pack: a conversation takes {longest} positions, a row has length={length}; raise it, or leave "
            "longer conversations out"
        )
    numbers = {id(one): number for number, one in enumerate(conversations)}
    return _laid_out(_best_rows(units, longest) if length is None else _rows(units, length), numbers)


def pair(conversations: Sequence[Rendered], start: int, pad: int = 0) -> Packed:
    """One conversation a row for an encoder-decoder: it reads all before the last answer, and writes that.

    start: the id that the decoder begins with (`config.decoder_start_token_id`); pad: of what is not there
    Raises ValueError for a conversation without an answer, or with media in it.
    """
    splits = [_last_answer(one, number) for number, one in enumerate(conversations)]
    B, L = len(splits), max(first for first, _ in splits)
    U = max(end - first for first, end in splits)
    ids, attend = np.full((B, L), pad, np.int64), np.zeros((B, L), bool)
    decoder_ids, targets = np.full((B, U), pad, np.int64), np.full((B, U), NO_TARGET, np.int64)
    decoder_attend = np.zeros((B, U), bool)
    writing = _Media((B, L))
    for row, (one, (first, end)) in enumerate(zip(conversations, splits)):
        ids[row, :first], attend[row, :first] = one.ids[:first], True
        answer = one.ids[first:end]
        targets[row, : len(answer)] = answer
        decoder_ids[row, 0], decoder_ids[row, 1 : len(answer)] = start, answer[:-1]
        decoder_attend[row, : len(answer)] = True
        writing.add(_Segment(one, 0, first), row, 0)
    owners = np.where(targets == NO_TARGET, -1, np.arange(B)[:, None])
    return Packed(
        ids, targets, None, attend, writing.slots, writing.media, decoder_ids, decoder_attend, owners
    )


def real_share(packed: Packed | TokenBatch) -> float:
    """The share of positions that hold a token or medium and not padding."""
    attend = torch.as_tensor(packed.attend)
    if attend.dim() == 2:
        return float(attend.float().mean())
    # A padded position sees itself only, and is seen by no other; so does a conversation of one token, which
    # has nothing to predict and therefore no business here.
    seen = attend.sum(1) + attend.sum(2)
    return float((seen > 2).float().mean())


# ---- units ------------------------------------------------------------------------------------------------


def _grouped(
    conversations: Sequence[Rendered], groups: Sequence[Hashable | None] | None, share: bool
) -> list[list[Rendered]]:
    if not share:
        return [[one] for one in conversations]
    if groups is not None and len(groups) != len(conversations):
        raise ValueError(f"pack: got {len(groups)} groups for {len(conversations)} conversations")
    found: dict[Hashable, list[Rendered]] = {}
    for number, one in enumerate(conversations):
        group = None if groups is None else groups[number]
        # Those of a group that begin with different media have nothing worth sharing.
        medium = (one.slots[0], media_key(one.media[0][1])) if one.slots else None
        alone = number if group is None and medium is None else None
        found.setdefault((group, medium, alone), []).append(one)
    return list(found.values())


def _shared(members: list[Rendered], length: int | None) -> list[_Unit]:
    """The conversations of one group as units of at most `length`, each with the common beginning."""
    common = _common(members) if len(members) > 1 else 0
    if common == 0:
        return [_Unit(None, (_Segment(one, 0, _last_predicting(one)),)) for one in members]
    beginning = _Segment(members[0], 0, common)
    units: list[_Unit] = []
    branches: list[_Segment] = []
    room = (length if length is not None else 1 << 62) - common
    for one in members:
        branch = _Segment(one, common, _last_predicting(one))
        if branches and sum(map(len, branches)) + len(branch) > room:
            units.append(_Unit(beginning, tuple(branches)))
            branches = []
        branches.append(branch)
    return [*units, _Unit(beginning, tuple(branches))]


def _common(members: list[Rendered]) -> int:
    """How many positions all of them begin with, up to the last token before anything that they predict.

    The token that predicts the first supervised one is left to the branches: there it has one target.
    """
    first = members[0]
    common = min(_before_targets(one) for one in members)
    for other in members[1:]:
        differing = np.flatnonzero(first.ids[:common] != other.ids[:common])
        common = int(differing[0]) if len(differing) else common
        for number, slot in enumerate(first.slots):
            if slot.start >= common:
                break
            same = (
                number < len(other.slots)
                and other.slots[number] == slot
                and media_key(first.media[number][1]) == media_key(other.media[number][1])
            )
            if not same:
                common = slot.start
        for slot in other.slots:  # placeholders may look like a token that the first one has there
            if slot.start < common and slot not in first.slots:
                common = slot.start
    for slot in first.slots:  # a medium is shared whole or not at all
        if slot.start < common < slot.start + slot.length:
            common = slot.start
    return common


def _last_predicting(one: Rendered) -> int:
    """The end of what anything is predicted from: the last token of an answer and what follows are not read."""
    supervised = np.flatnonzero(one.supervised)
    return max(1, int(supervised[-1])) if len(supervised) else len(one)


def _before_targets(one: Rendered) -> int:
    supervised = np.flatnonzero(one.supervised)
    return max(0, (int(supervised[0]) if len(supervised) else len(one)) - 1)


# ---- rows -------------------------------------------------------------------------------------------------


def _rows(units: Sequence[_Unit], length: int) -> list[list[_Unit]]:
    """First fit by decreasing size (Johnson et al. 1974: at most 11/9 of the fewest rows, and 6/9 of one)."""
    rows: list[list[_Unit]] = []
    room: list[int] = []
    for unit in sorted(units, key=len, reverse=True):
        place = next((row for row, left in enumerate(room) if left >= len(unit)), None)
        if place is None:
            rows.append([])
            room.append(length)
            place = len(rows) - 1
        rows[place].append(unit)
        room[place] -= len(unit)
    return rows


def _best_rows(units: Sequence[_Unit], longest: int) -> list[list[_Unit]]:
    """The shortest rows that are nearly full: attention costs the square of their length.

    For each number of rows the largest unit left goes to the emptiest row (Graham 1969, "longest first").
    """
    decreasing = sorted(units, key=len, reverse=True)
    total, best, most = sum(map(len, units)), [decreasing], 0.0
    for count in range(-(-total // longest), 0, -1):
        rows: list[list[_Unit]] = [[] for _ in range(count)]
        filled = [(0, row) for row in range(count)]
        for unit in decreasing:
            at, row = filled[0]
            rows[row].append(unit)
            heapq.heapreplace(filled, (at + len(unit), row))
        share = total / (count * max(filled)[0])
        if share > most:
            best, most = rows, share
        if share >= ENOUGH:
            break
    return best


def _laid_out(rows: list[list[_Unit]], numbers: Mapping[int, int]) -> Packed:
    """numbers: id of a conversation -> its number in the batch."""
    B, L = len(rows), max(sum(map(len, row)) for row in rows)
    ids, targets = np.zeros((B, L), np.int64), np.full((B, L), NO_TARGET, np.int64)
    positions, owners = np.zeros((B, L), np.int64), np.full((B, L), -1, np.int64)
    attend = np.zeros((B, L, L), bool)
    causal = np.tri(L, dtype=bool)
    writing = _Media((B, L))
    for row, units in enumerate(rows):
        at = 0
        for unit in units:
            start, shared = at, 0
            for segment in (unit.beginning, *unit.branches):
                if segment is None:
                    continue
                one, end = segment.rendered, at + len(segment)
                ids[row, at:end] = one.ids[segment.start : segment.end]
                positions[row, at:end] = np.arange(segment.start, segment.end)
                attend[row, at:end, at:end] = causal[: len(segment), : len(segment)]
                writing.add(segment, row, at)
                if segment is unit.beginning:
                    shared = len(segment)
                else:
                    attend[row, at:end, start : start + shared] = True
                    following = slice(segment.start + 1, segment.end + 1)
                    shifted = np.where(one.supervised[following], one.ids[following], NO_TARGET)
                    targets[row, at : at + len(shifted)] = shifted
                    owners[row, at : at + len(shifted)] = np.where(shifted == NO_TARGET, -1, numbers[id(one)])
                at = end
        attend[row, range(at, L), range(at, L)] = True  # a row of nothing would divide by zero
    return Packed(ids, targets, positions, attend, writing.slots, writing.media, owners=owners)


class _Media:
    """Slots and media, gathered while rows are written from left to right."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.slots: dict[str, np.ndarray] = {}
        self.media: dict[str, list[Any]] = {}

    def add(self, segment: _Segment, row: int, at: int) -> None:
        """A segment that stands at [row, at]."""
        for slot, (name, medium) in zip(segment.rendered.slots, segment.rendered.media):
            if segment.start <= slot.start < segment.end:
                start = at + slot.start - segment.start
                self.slots.setdefault(name, np.zeros(self.shape, bool))[row, start : start + slot.length] = (
                    True
                )
                self.media.setdefault(name, []).append(medium)


def _last_answer(one: Rendered, number: int) -> tuple[int, int]:
    supervised = np.flatnonzero(one.supervised)
    if not len(supervised):
        raise ValueError(f"pair: conversation {number} has no answer; expected an assistant turn at its end")
    end = int(supervised[-1]) + 1
    gaps = np.flatnonzero(np.diff(supervised) > 1)
    first = int(supervised[gaps[-1] + 1] if len(gaps) else supervised[0])
    if first == 0:
        raise ValueError(f"pair: conversation {number} begins with its answer; expected something to read")
    return first, end
