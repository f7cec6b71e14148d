"""`ChoiceBatch`: a batch of conversations several of which are answers to one question, one of them right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sensorium.data.tokens import TokenBatch


@dataclass(frozen=True)
class ChoiceBatch(TokenBatch):
    """A `TokenBatch` of C conversations about N items.

    items: int64[C], which item each conversation answers, counted from 0
    right: bool[C], True for the one right answer of each item
    worth: float[C], how good an answer is among its item's, 0 or more; -1: it stands for no choice. Where it is not
           given, the right one is worth 1 and the others nothing
    prior: float[C], what speaks for an answer beside the model, in nats (a retriever's score); nothing by default
    """

    items: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    right: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    worth: Tensor = field(default_factory=lambda: torch.empty(0))
    prior: Tensor = field(default_factory=lambda: torch.empty(0))

    @classmethod
    def of(
        cls,
        batch: TokenBatch,
        items: Tensor,
        right: Tensor,
        worth: Tensor | None = None,
        prior: Tensor | None = None,
    ) -> ChoiceBatch:
        """Raises ValueError when the conversations are not as many, or when an item has no or two right answers."""
        C = len(batch.names)
        if not len(items) == len(right) == C:
            raise ValueError(
                f"got {len(items)} items and {len(right)} marks for {C} conversations; expected {C}"
            )
        counts = torch.bincount(items[right], minlength=int(items.max()) + 1)
        if (counts != 1).any():
            wrong = int((counts != 1).nonzero()[0])
            raise ValueError(f"item {wrong} has {int(counts[wrong])} right answers; expected one")
        worth = right.float() if worth is None else worth
        prior = torch.zeros(C) if prior is None else prior
        return cls(**vars(batch), items=items, right=right, worth=worth, prior=prior)

    def _each(self, move: Callable[[Tensor], Tensor]) -> ChoiceBatch:
        own = {name: move(getattr(self, name)) for name in ("items", "right", "worth", "prior")}
        return ChoiceBatch(**{**vars(super()._each(move)), **own})
