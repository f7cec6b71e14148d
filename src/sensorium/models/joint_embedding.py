"""`JointEmbedding`: one encoder and one head a column, one shared space, any number of modalities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.features import Features


class BatchLike(Protocol):
    """What `forward` reads of a `data.Batch`: columns with `inputs` and `present`."""

    @property
    def columns(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Embeddings:
    """What `JointEmbedding.forward` returns for a batch of B rows.

    vectors: by column float[P, D] of unit length, for the P rows that have the column, in batch order
    present: by column bool[B], P = present.sum()
    scale:   float[], positive: logits = scale * cosine + bias
    bias:    float[], 0 unless the model was built with one
    """

    vectors: dict[str, Tensor]
    present: dict[str, Tensor]
    scale: Tensor
    bias: Tensor


class JointEmbedding(nn.Module):
    """Media of any modality -> unit vectors of one space, where the same meaning lies close together.

        picture ──► encoder ──► Features ──► head ──► pooled / |pooled| ──► float[P, D] ──┐
        caption ──► encoder ──► Features ──► head ──► pooled / |pooled| ──► float[P, D] ──┼──► cosine
        speech  ──► encoder ──► Features ──► head ──► pooled / |pooled| ──► float[P, D] ──┘
        (any columns; any row of a batch may lack any of them)      logits = scale · cosine + bias

    encoders:  by column name; columns may share one encoder object
    heads:     by column name, `Features -> Features` with a `width`; a column without one (or with None)
               keeps its encoder's width. All columns must end in the same width D.
    scale:     start of the learned logit scale, 1 / temperature (CLIP: 1 / 0.07; SigLIP: 10)
    bias:      start of the learned logit bias (SigLIP: -10), or None for losses that cannot use one (softmax)
    max_scale: the scale never exceeds it (CLIP §2.5: 100); None: free. At the ceiling only gradients that
               would raise the scale further are dropped, so that it can come down again.

    To learn neither, freeze `log_scale` and `bias` by name. Raises ValueError when columns or widths
    do not fit.
    """

    def __init__(
        self,
        encoders: Mapping[str, Any],
        heads: Mapping[str, Any] | None = None,
        *,
        scale: float = 1 / 0.07,
        bias: float | None = None,
        max_scale: float | None = 100.0,
    ) -> None:
        super().__init__()
        if not encoders:
            raise ValueError("no columns: give at least one encoder, {column: Encoder}")
        given = {column: head for column, head in (heads or {}).items() if head is not None}
        if unknown := sorted(set(given) - set(encoders)):
            raise ValueError(
                f"heads for {unknown}, but encoders for {sorted(encoders)}: name the same columns"
            )
        widths = {column: given.get(column, encoder).width for column, encoder in encoders.items()}
        if len(set(widths.values())) != 1:
            raise ValueError(f"columns end in widths {widths}: give heads that all end in one width")
        self.encoders = nn.ModuleDict(encoders)
        self.heads = nn.ModuleDict(given)
        self.width = next(iter(widths.values()))
        self.max_scale = max_scale
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = None if bias is None else nn.Parameter(torch.tensor(float(bias)))

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.encoders)

    @property
    def by_column(self) -> dict[str, Any]:
        """The encoders by column as a plain mapping, for what prepares and caches media."""
        return dict(self.encoders.items())

    @property
    def modality(self) -> dict[str, str]:
        """The modality of every column, by its name."""
        return {column: str(encoder.modality) for column, encoder in self.encoders.items()}

    def embed(self, column: str, inputs: dict[str, Tensor] | Features) -> Tensor:
        """Prepared tensors or cached Features of P items -> float32[P, D] of unit length."""
        if column not in self.encoders:
            raise ValueError(f"no column {column!r} in this model; it has {', '.join(self.columns)}")
        features = inputs if isinstance(inputs, Features) else self.encoders[column](inputs)
        if column in self.heads:
            features = self.heads[column](features)
        return F.normalize(features.pooled.float(), dim=-1)  # float32: bf16 cosines have two digits

    def forward(self, batch: BatchLike) -> Embeddings:
        vectors, present = {}, {}
        for name, column in batch.columns.items():
            present[name] = column.present
            if column.present.any():
                vectors[name] = self.embed(name, column.inputs)
            else:  # the column of a batch that has none of it still takes part in collective operations
                vectors[name] = self.log_scale.new_zeros(0, self.width)
        return Embeddings(vectors, present, self.scale(), self.bias_or_zero())

    def scale(self) -> Tensor:
        """float[], the logit scale, at most `max_scale`."""
        if self.max_scale is None:
            return self.log_scale.exp()
        return _Ceiling.apply(self.log_scale, math.log(self.max_scale)).exp()

    def bias_or_zero(self) -> Tensor:
        return torch.zeros_like(self.log_scale) if self.bias is None else self.bias


class _Ceiling(torch.autograd.Function):
    """min(value, ceiling), whose gradient above the ceiling passes only when it brings the value down."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, ceiling: float) -> Tensor:
        ctx.above = value >= ceiling
        return value.clamp(max=ceiling)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.masked_fill(ctx.above & (gradient < 0), 0.0), None
