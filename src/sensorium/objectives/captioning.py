"""Captioning: the next word of a text, from the words before it and what it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Captioning:
    """(model, batch) -> {"captioning": float[]}: cross-entropy of every next token, the end included.

        L = −1/N Σ log p(w_t | w_<t, picture)

    over the N tokens of all texts that are no padding (Li et al. 2022, arXiv:2201.12086, §3.2). Labels are shifted
    here and nowhere else: the place of a word foretells the word after it.

    smoothing: share of the target that goes evenly to all words; the paper's is 0.1

    Relations: `NextToken` is the same for a conversation of `MultimodalLM`.
    """

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing={self.smoothing}: give 0 <= smoothing < 1")

    def __call__(self, model: Any, batch: Any) -> dict[str, Tensor]:
        return self.losses(model, model(batch))

    def losses(self, model: Any, pairs: Any) -> dict[str, Tensor]:
        """The same of an output that is at hand."""
        if not len(pairs.image):
            return {}
        return {"captioning": self.of(model, model.marked(pairs.words, "decode"), pairs.image)}

    def of(self, model: Any, words: Any, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """float[]: the loss of texts that begin with "decode", each with what it may look at, float[B, T, W]."""
        hidden = model.decode(words, memory, memory_mask)
        real = words.mask[:, 1:]  # the head reads only the places that count: it is wide
        logits = model.next_words(hidden[:, :-1][real])
        return F.cross_entropy(logits.float(), words.ids[:, 1:][real], label_smoothing=self.smoothing)
