"""`Sample`, one record whose media may be missing, and `Batch`, several collated.

readers -> Sample -> (prepare) -> Batch -> model
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from sensorium.features import Features
from sensorium.media import Media, Source

Messages = Sequence[Mapping[str, Any]]  # as `conversation.parse` takes them


@dataclass(frozen=True)
class Sample:
    """One record.

    id:       unique in its data set
    columns:  by column name, media (decoded or still a `Source`), or the messages of a conversation; a missing
              one is absent, never None
    modality: the modality of every column of the data set, also of the ones that this record lacks; that of
              messages is "conversation"
    meanings: what the record means, as keys (`"thing:1f600"`, `"caption:grinning face"`); records that share
              one key are positives of each other in contrastive training and equally right in retrieval
    fields:   everything that no encoder sees: labels, split, language, licence
    """

    id: str
    columns: Mapping[str, Media | Source | Messages]
    modality: Mapping[str, str]
    meanings: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """One column of a batch of B records, P of which have it.

    inputs:  what the encoder's `prepare` made of the P present media (tensors with P rows, in batch order),
             or their `Features` when a frozen encoder was read from the feature cache; {} when P = 0
    present: bool[B], True where the record has this column; P = present.sum()
    """

    modality: str
    inputs: dict[str, Tensor] | Features
    present: Tensor


@dataclass(frozen=True)
class Batch:
    """B collated records.

    columns:  every column that was asked for, also one that all of these records lack (processes that each
              hold a part of a global batch must agree on the names)
    meanings: int64[B, K] hashes of the meaning keys, padded with -1 (shared by nobody)
    fields:   by name, a list of B values, None where a record has no such field
    """

    ids: tuple[str, ...]
    columns: dict[str, Column]
    meanings: Tensor
    fields: dict[str, list]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Called by `DataLoader(pin_memory=True)`."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, move: Callable[[Tensor], Tensor]) -> Batch:
        columns = {}
        for name, column in self.columns.items():
            if isinstance(column.inputs, Features):
                features = column.inputs
                tokens, pooled = move(features.tokens), move(features.pooled)
                inputs: dict[str, Tensor] | Features = Features(tokens, move(features.mask), pooled)
            else:
                inputs = {key: move(tensor) for key, tensor in column.inputs.items()}
            columns[name] = replace(column, inputs=inputs, present=move(column.present))
        return replace(self, columns=columns, meanings=move(self.meanings))
