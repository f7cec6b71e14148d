"""Next-token prediction: cross-entropy of a language model where, and only where, a batch has targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class NextToken:
    """(model, batch) -> {"next_token": float[]}

    With the states h of the S positions that have a target t (batch.targets != -100):

        L = −1/S Σ_s log softmax(head(h_s))[t_s]

    Only those positions go through the head: of a long prompt with a short answer it would otherwise be the
    dearest layer. `batch.targets` are shifted already (position s holds what must follow it).

    model:           gives the states of every position, and has the head: `logits(hidden)`
    label_smoothing: ε of the target goes evenly to the whole vocabulary, as in F.cross_entropy
    """

    label_smoothing: float = 0.0

    def __call__(self, model: Any, batch: Any) -> dict[str, Tensor]:
        where = batch.targets != -100
        hidden = model(batch).hidden[where]  # a contiguous copy, float[S, D]
        logits = model.logits(hidden).float()
        return {
            "next_token": F.cross_entropy(logits, batch.targets[where], label_smoothing=self.label_smoothing)
        }


def likelihoods(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
    """float[C] Σ log p of each of C conversations' supervised tokens, and int64[C] how many these are."""
    where = batch.targets != -100
    logits = model.logits(model(batch).hidden[where]).float()
    each = -F.cross_entropy(logits, batch.targets[where], reduction="none")
    owners, C = batch.owners[where], len(batch.names)
    return each.new_zeros(C).index_add(0, owners, each), torch.bincount(owners, minlength=C)
