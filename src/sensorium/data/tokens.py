"""`TokenBatch`: conversations as a language model reads them, several in a row, media in their places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sensorium.features import Features

NO_TARGET = -100  # what F.cross_entropy leaves out


@dataclass(frozen=True)
class TokenBatch:
    """B rows of L positions, each holding one conversation or several that do not see each other.

    ids:       int64[B, L]; any valid id where a medium or padding stands
    targets:   int64[B, L], what must follow each position, NO_TARGET where nothing is asked: labels that are
               shifted already. With `decoder_ids`: int64[B, U], for the decoder's positions
    positions: int64[B, L], place in its own conversation
    attend:    bool[B, L, L], True where a position (row) sees another (column); for an encoder-decoder bool[B, L]
    slots:     by encoder name bool[B, L], True where its media's tokens stand
    media:     by encoder name, the prepared inputs or Features of its N media, in reading order of their slots
    decoder_ids, decoder_attend: int64[B, U], bool[B, U], only for an encoder-decoder
    names:     of the conversations in it, for errors and reports
    owners:    int64[B, L], for each target the conversation it belongs to, a place in `names`; -1 elsewhere
    left_out:  conversations that were to be in it, but for media that cannot be decoded
    """

    ids: Tensor
    targets: Tensor
    positions: Tensor | None
    attend: Tensor | None
    slots: Mapping[str, Tensor]
    media: Mapping[str, dict[str, Tensor] | Features]
    decoder_ids: Tensor | None = None
    decoder_attend: Tensor | None = None
    names: tuple[str, ...] = ()
    owners: Tensor | None = None
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> TokenBatch:
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> TokenBatch:
        """Called by `DataLoader(pin_memory=True)`."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, move: Callable[[Tensor], Tensor]) -> TokenBatch:
        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else move(tensor)

        def medium(inputs: dict[str, Tensor] | Features) -> dict[str, Tensor] | Features:
            if isinstance(inputs, Features):
                return Features(move(inputs.tokens), move(inputs.mask), move(inputs.pooled))
            return {key: move(tensor) for key, tensor in inputs.items()}

        return replace(
            self,
            ids=move(self.ids),
            targets=move(self.targets),
            positions=moved(self.positions),
            attend=moved(self.attend),
            slots={name: move(slots) for name, slots in self.slots.items()},
            media={name: medium(inputs) for name, inputs in self.media.items()},
            decoder_ids=moved(self.decoder_ids),
            decoder_attend=moved(self.decoder_attend),
            owners=moved(self.owners),
        )
