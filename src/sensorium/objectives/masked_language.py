"""Masked language modelling and next-sentence prediction: what BERT is pretrained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

NO_TARGET = -100


@dataclass(frozen=True)
class MaskedLanguage:
    """(model, batch) -> {"masked_language": float[], "next_sentence": float[]} (Devlin et al. 2019, §3.1)

    With the states h of the S hidden words w, and the pooled states c of the P rows that hold two texts:

        masked_language = −1/S Σ_s log softmax(words(h_s))[w_s]
        next_sentence   = −1/P Σ_p log softmax(pairs(c_p))[y_p]        y = 0: the second follows, 1: it does not

    The paper's loss is their sum. Only hidden words go through the head, which is as wide as the vocabulary. A loss of
    which a batch has no row is left out.

    model: `encode(inputs) -> Features`, and its heads `words` and `pairs`
    batch: a `data.masking.MaskedBatch`
    """

    def __call__(self, model: Any, batch: Any) -> dict[str, Tensor]:
        features = model.encode(batch.inputs)
        losses = {}
        hidden = batch.targets != NO_TARGET
        if hidden.any():
            logits = model.words(features.tokens[hidden]).float()
            losses["masked_language"] = F.cross_entropy(logits, batch.targets[hidden])
        paired = batch.strange != NO_TARGET
        if paired.any():
            logits = model.pairs(features.pooled[paired]).float()
            losses["next_sentence"] = F.cross_entropy(logits, batch.strange[paired])
        return losses
