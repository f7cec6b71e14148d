"""How a language model reads while it writes: its input at once, then token by token, with what it remembers.

causal:          embeddings ──► cache of keys and values ──► last state ──► logits, or the likeliest token
encoder-decoder: embeddings ──► encoder ──► memory; decoder with a cache of its own ──► last state
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.models.pace import Pace

PACE = Pace()  # of this process: it says what the machine is like, not the model


class Reader(Protocol):
    """last: float[B, D], the state of what was read last. cache: what it remembers.

    joins: whether rows of another reader can join
    """

    backbone: Any
    last: Tensor
    cache: Any

    @property
    def joins(self) -> bool: ...

    def read(self, ids: list[int]) -> None:
        """One token more for every row."""

    def keep(self, places: list[int]) -> None:
        """Go on with these rows only."""

    def take_in(self, embeddings: Tensor, mask: Tensor | None) -> None:
        """Read the prompts of more rows, as a reader of their own would, and go on with them behind these."""


@torch.no_grad()
def logits_of(reader: Reader) -> Tensor:
    """float[B, V] for the token after what was read."""
    found: Tensor = PACE.once(lambda: reader.backbone.logits(reader.last))
    return found


@torch.no_grad()
def likeliest_of(reader: Reader) -> list[int]:
    """The token with the largest logit for every row, which costs less than all logits where the model knows how."""
    found: list[int] = PACE.once(lambda: reader.backbone.likeliest(reader.last)).tolist()
    return found


def context_of(backbone: Any) -> int | None:
    """The most positions that a model reads and writes; None where positions are relative (T5)."""
    if backbone.kind == "encoder_decoder":
        return None
    context = getattr(backbone.lm.config, "max_position_embeddings", None)
    return None if context is None else int(context)


def with_fewest_moves(places: Sequence[int]) -> list[int]:
    """Rows that go on, in an order in which caches move few: the last ones take the places of those that leave.

    [0, 2, 3] -> [0, 3, 2]
    """
    stay = set(places)
    last = [place for place in sorted(stay) if place >= len(places)]
    return [place if place in stay else last.pop() for place in range(len(places))]


class CausalReader:
    """One row without padding needs no masks; rows of different lengths are padded on the left."""

    @torch.no_grad()
    def __init__(self, backbone: Any, embeddings: Tensor, mask: Tensor | None, cache: Any) -> None:
        self.backbone = backbone
        self.cache = backbone.new_cache() if cache is None else cache
        self.mask: Tensor | None = None
        attend = positions = None
        if mask is not None:
            embeddings, self.mask = left_padded(embeddings, mask)
            L = embeddings.shape[1]
            positions = (self.mask.cumsum(1) - 1).clamp(min=0)
            causal = torch.ones(L, L, dtype=torch.bool, device=mask.device).tril()
            # What stands on padding sees itself: a row without anything to see would be nan.
            itself = torch.eye(L, dtype=torch.bool, device=mask.device)
            attend = (causal & self.mask[:, None]) | itself
        self.last: Tensor = PACE.once(
            lambda: backbone(embeddings, attend, positions, self.cache)[:, -1].contiguous()
        )

    @torch.no_grad()
    def read(self, ids: list[int]) -> None:
        embeddings = self.backbone.embed(torch.tensor(ids, device=self.last.device)[:, None])
        attend = positions = None
        if self.mask is not None:
            positions = self.mask.sum(1, keepdim=True)
            self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], 1)
            attend = self.mask[:, None]
        self.last = PACE.step(lambda: self.backbone(embeddings, attend, positions, self.cache)[:, -1])

    def keep(self, places: list[int]) -> None:
        rows = torch.tensor(places, device=self.last.device)
        self.cache.batch_select_indices(rows)
        self.last = self.last[rows]
        if self.mask is not None:
            self.mask = self.mask[rows]
            # The longest row may have left: positions that are padding in every row go with it.
            blank = int(self.mask.any(0).to(torch.int8).argmax())
            _move(self.cache, -blank)
            self.mask = self.mask[:, blank:]

    @property
    def joins(self) -> bool:
        """Rows of caches that hold keys and values of all positions are put beside each other."""
        from transformers import Cache
        from transformers.cache_utils import DynamicLayer

        return not isinstance(self.cache, Cache) or all(
            type(one) is DynamicLayer for one in self.cache.layers
        )

    @torch.no_grad()
    def take_in(self, embeddings: Tensor, mask: Tensor | None) -> None:
        mine = self._real()
        length = embeddings.shape[1]
        if (more := length - mine.shape[1]) > 0:
            _move(self.cache, more)
            mine = F.pad(mine, (more, 0))
        room = _room_behind(self.cache, len(embeddings), length)
        other = CausalReader(self.backbone, embeddings, mask, room)
        self.mask = torch.cat([mine, F.pad(other._real(), (mine.shape[1] - length, 0))])
        _take_in(self.cache, other.cache)
        self.last = torch.cat([self.last, other.last])

    def _real(self) -> Tensor:
        """bool[B, P], the positions that are no padding."""
        if self.mask is not None:
            return self.mask
        return torch.ones(
            len(self.last), self.cache.get_seq_length(), dtype=torch.bool, device=self.last.device
        )


class EncoderDecoderReader:
    """The encoder reads once, padding on either side; the decoder's rows all have one length, so none can join."""

    joins = False

    @torch.no_grad()
    def __init__(self, backbone: Any, embeddings: Tensor, mask: Tensor | None, cache: Any) -> None:
        from transformers import DynamicCache, EncoderDecoderCache

        assert cache is None, "an encoder-decoder reads each input anew"
        self.backbone, self.mask = backbone, mask
        self.cache = None
        self.remembered = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self.memory = PACE.once(lambda: backbone.encode(embeddings, mask))
        self.last: Tensor = torch.empty(0)
        self.read([backbone.start_id] * len(embeddings))

    @torch.no_grad()
    def read(self, ids: list[int]) -> None:
        tokens = torch.tensor(ids, device=self.memory.device)[:, None]
        self.last = PACE.step(
            lambda: self.backbone.decode(self.memory, self.mask, tokens, cache=self.remembered)[:, -1]
        )

    def keep(self, places: list[int]) -> None:
        rows = torch.tensor(places, device=self.memory.device)
        self.remembered.batch_select_indices(rows)
        self.memory, self.last = self.memory[rows], self.last[rows]
        if self.mask is not None:
            self.mask = self.mask[rows]

    def take_in(self, embeddings: Tensor, mask: Tensor | None) -> None:
        raise AssertionError("its `joins` says that none can")


def _move(cache: Any, places: int) -> None:
    """Every position of a cache moves to the right, zeros coming before them; a negative number drops as many."""
    from transformers import Cache

    if not isinstance(cache, Cache):
        cache.move(places)
        return
    layers: Any = cache.layers
    for layer in layers:
        layer.keys = F.pad(layer.keys, (0, 0, places, 0))
        layer.values = F.pad(layer.values, (0, 0, places, 0))


def _room_behind(cache: Any, rows: int, positions: int) -> Any:
    """Where more rows read prompts of so many positions; None: in a cache of their own."""
    from transformers import Cache

    return None if isinstance(cache, Cache) else cache.room_behind(rows, positions)


def _take_in(cache: Any, other: Any) -> None:
    """The rows of a cache of no more positions go behind those of the first."""
    from transformers import Cache

    if not isinstance(cache, Cache):
        cache.take_in(other)
        return
    _move(other, cache.get_seq_length() - other.get_seq_length())
    pairs: Any = zip(cache.layers, other.layers, strict=True)
    for layer, more in pairs:
        layer.keys = torch.cat([layer.keys, more.keys])
        layer.values = torch.cat([layer.values, more.values])


def left_padded(embeddings: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The same rows with their padding on the left, zeros there: float[B, L, D], bool[B, L]."""
    order = mask.to(torch.int8).argsort(dim=1, stable=True)  # what is real goes to the end, in order
    mask = mask.gather(1, order)
    moved = embeddings.gather(1, order[..., None].expand_as(embeddings))
    return moved.masked_fill(~mask[..., None], 0.0), mask
