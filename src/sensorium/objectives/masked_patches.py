"""The hidden patches of a picture, told from the rest: squared error on normed pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

EPSILON = 1e-6  # added to a patch's variance


class ReconstructionLike(Protocol):
    """What a masked autoencoder returns: P numbers a patch, M hidden of N patches."""

    @property
    def predicted(self) -> Tensor: ...  # float[B, M, P]
    @property
    def patches(self) -> Tensor: ...  # float[B, N, P]
    @property
    def hidden(self) -> Tensor: ...  # int64[B, M]


@dataclass(frozen=True)
class MaskedPatches:
    """(model, batch) -> {"masked_patches": float[]}.

        L = mean over hidden patches m of |predicted_m − target_m|² / P
        target_m = (patch_m − mean(patch_m)) / sqrt(var(patch_m) + 1e-6)

    He et al. 2021 (arXiv:2111.06377), section 3: the loss is on hidden patches only. normed: each target patch by
    its own mean and variance (over N − 1, as the authors' code), which made better encoders (table 1d); False: the
    pixels as the encoder norms them. A patch of one colour has the target 0 everywhere.
    """

    normed: bool = True

    def __call__(self, model: Callable[[Any], ReconstructionLike], batch: Any) -> dict[str, Tensor]:
        return {"masked_patches": self.loss(model(batch))}

    def loss(self, made: ReconstructionLike) -> Tensor:
        """The same of a reconstruction that is at hand."""
        target = made.patches.gather(1, made.hidden[..., None].expand_as(made.predicted))
        if self.normed:
            target, _, _ = normed(target)
        return (made.predicted.float() - target).square().mean()


def normed(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """float[…, P] -> each patch with mean 0 and variance 1; its mean and spread, float[…, 1]."""
    mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    spread = torch.sqrt(variance + EPSILON)
    return (patches - mean) / spread, mean, spread
