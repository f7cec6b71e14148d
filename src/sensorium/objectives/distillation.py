"""Global–local distillation: what a student tells of a part, against what its teacher makes of the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor


class DistilledLike(Protocol):
    """What a student and its teacher make of B clips: T tokens a clip, and one vector."""

    @property
    def tokens(self) -> Tensor: ...  # float[B, T, D]
    @property
    def pooled(self) -> Tensor: ...  # float[B, D]
    @property
    def teacher_tokens(self) -> Tensor: ...  # float[B, T, D]
    @property
    def teacher_pooled(self) -> Tensor: ...  # float[B, D]


@dataclass(frozen=True)
class GlobalLocalDistillation:
    """(model, batch) -> {"distillation/local": float[], "distillation/global": float[]}; the total is their sum.

        local  = mean over all tokens t of all clips of 1 − cos(student_t, teacher_t)
        global = mean over all clips of                 1 − cos(student,   teacher)

    Zhao et al. 2024 (arXiv:2402.13217), section 3.3. The local loss is on all tokens, the seen ones too, whose places
    the decoder has to find; the global one keeps the student from forgetting what the words taught. The teacher takes
    no gradients. Sibling: `MaskedPatches`, whose targets are pixels.
    """

    def __call__(self, model: Callable[[Any], DistilledLike], batch: Any) -> dict[str, Tensor]:
        return self.losses(model(batch))

    def losses(self, made: DistilledLike) -> dict[str, Tensor]:
        """The same of what a model returned."""
        return {
            "distillation/local": cosine_distance(made.tokens, made.teacher_tokens),
            "distillation/global": cosine_distance(made.pooled, made.teacher_pooled),
        }


def cosine_distance(told: Tensor, target: Tensor) -> Tensor:
    """float[…, D] twice -> float[], the mean of 1 − cosine; nothing flows into the target."""
    return (1 - F.cosine_similarity(told.float(), target.detach().float(), dim=-1)).mean()
