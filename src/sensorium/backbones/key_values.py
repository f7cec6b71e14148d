"""`KeyValues`: what a language model remembers of the positions it has read, for many rows that come and go.

Shapes: B rows, P positions, G key heads, E channels a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROOM = 256  # positions by which the buffers grow


class KeyValues:
    """The keys and values of P positions of B rows, of every layer.

    They stand in buffers with room for more rows and positions: rows that leave or join, and positions that are
    dropped, move no others. Has the faces of a `transformers` cache that decoding uses (`get_seq_length`, `crop`,
    `batch_select_indices`), and those that rows need to join a batch.

    rows, length: B and P; start: the position of the buffers at which the first of P stands
    """

    def __init__(self, layers: int) -> None:
        self.layers = layers
        self.rows = self.start = self.length = 0
        self.buffers: list[Tensor] = []  # one a layer, keys before values: float32[2, ≥ B, G, ≥ start + P, E]

    def get_seq_length(self) -> int:
        return self.length

    def write(self, layer: int, more: Tensor) -> tuple[Tensor, Tensor]:
        """float32[2, B, G, L, E] behind the positions of a layer -> its keys and values, each float32[B, G, P + L, E].

        `make_room` comes before the first layer; after the last one, `length` grows by L.
        """
        end = self.start + self.length
        rows = self.buffers[layer][:, : self.rows]
        rows[:, :, :, end : end + more.shape[3]] = more
        keys, values = rows[:, :, :, self.start : end + more.shape[3]].unbind(0)
        return keys, values

    def make_room(self, rows: int, heads: int, more: int, channels: int) -> None:
        """For `more` positions behind those that are there; the first call says how many rows there are."""
        if not self.buffers:
            self.rows = rows
        room = self.buffers[0].shape[3] if self.buffers else 0
        if self.start + self.length + more <= room:
            return
        needed = self.length + more
        # Positions that were dropped on the left may have left enough room.
        wanted = room if needed <= room * 2 // 3 else -(-max(needed, room * 3 // 2) // ROOM) * ROOM
        self._grow((2, self.rows, heads, wanted, channels))

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last positions; their number is negative, as `transformers` wants it."""
        assert -self.length <= tokens_to_remove <= 0
        self.length += tokens_to_remove

    @torch.inference_mode()
    def batch_select_indices(self, rows: Tensor) -> None:
        """Go on with these rows. Where the last ones take the places of those that left, no others move."""
        wanted = rows.tolist()
        moved = [(place, row) for place, row in enumerate(wanted) if place != row]
        if all(row >= len(wanted) for _, row in moved):
            to, of = [place for place, _ in moved], [row for _, row in moved]
            for window in self._windows() if moved else ():
                window[:, to] = window[:, of]
        else:
            self.buffers = [buffer[:, rows] for buffer in self.buffers]
        self.rows = len(wanted)

    @torch.inference_mode()
    def move(self, places: int) -> None:
        """Positions move to the right, zeros coming before them; a negative number drops as many from the left."""
        if places > self.start:
            _, _, heads, room, channels = self.buffers[0].shape
            self._grow((2, self.rows, heads, room + places, channels), places)
        self.start -= places
        self.length += places
        for window in self._windows() if places > 0 else ():
            window[..., :places, :] = 0

    @torch.inference_mode()
    def room_behind(self, rows: int, positions: int) -> KeyValues:
        """An empty cache in these buffers, of more rows: when `positions` are in it, they end where these end.

        Then `take_in` makes its rows these ones' last: what was read moves nowhere. No position is moved, dropped or
        read here meanwhile. positions: at most `length`; what stands before them is zeros.
        """
        assert positions <= self.length
        together = self.rows + rows
        if together > self.buffers[0].shape[1]:
            _, _, heads, room, channels = self.buffers[0].shape
            self._grow((2, together, heads, room, channels))
        behind = KeyValues(self.layers)
        behind.buffers = [buffer[:, self.rows : together] for buffer in self.buffers]
        behind.rows, behind.start = rows, self.start + self.length - positions
        for buffer in behind.buffers:
            buffer[:, :, :, self.start : behind.start] = 0
        return behind

    def take_in(self, behind: KeyValues) -> None:
        """The rows of a cache that `room_behind` made, once they are read."""
        assert behind.start + behind.length == self.start + self.length
        self.rows += behind.rows

    def _windows(self) -> list[Tensor]:
        """What is in use of each buffer: float32[2, B, G, P, E]."""
        return [buffer[:, : self.rows, :, self.start : self.start + self.length] for buffer in self.buffers]

    def _grow(self, shape: tuple[int, ...], start: int = 0) -> None:
        """Buffers of this shape, in which the first position stands at `start`."""
        grown = [torch.empty(shape) for _ in range(self.layers)]
        for fresh, window in zip(grown, self._windows()):
            fresh[:, : self.rows, :, start : start + self.length] = window
        self.buffers, self.start = grown, start
