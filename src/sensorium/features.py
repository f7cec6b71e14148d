"""What flows between parts: `Features`, the one type every encoder and projector returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """One modality's encoding of B items.

    tokens: float[B, T, D], a sequence an item (patches, frames, words), padded at the end
    mask:   bool[B, T], True where a token is real
    pooled: float[B, D], one vector an item, as the encoder's authors pool it
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor

    def __post_init__(self) -> None:
        B, T, D = self.tokens.shape
        assert self.mask.shape == (B, T), f"mask {tuple(self.mask.shape)} does not fit tokens {(B, T, D)}"
        assert self.mask.dtype == torch.bool, f"mask must be bool, got {self.mask.dtype}"
        assert self.pooled.shape == (B, D), (
            f"pooled {tuple(self.pooled.shape)} does not fit tokens {(B, T, D)}"
        )

    @classmethod
    def from_pooled(cls, pooled: Tensor) -> Features:
        """One vector an item, float[B, D], seen as a sequence of length one."""
        return cls(
            pooled[:, None, :], torch.ones(len(pooled), 1, dtype=torch.bool, device=pooled.device), pooled
        )

    def to(self, device: torch.device | str) -> Features:
        return Features(self.tokens.to(device), self.mask.to(device), self.pooled.to(device))

    def __len__(self) -> int:
        return len(self.pooled)
