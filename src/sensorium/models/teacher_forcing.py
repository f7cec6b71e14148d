"""What a language model would say at each place of a known answer: greedy answers judged without generating them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sensorium.models.multimodal_lm import MultimodalLM


def forced_answers(model: MultimodalLM, batch: Any) -> list[str]:
    """The likeliest token at every target of the batch, as one text for each of its conversations.

    A text equals the right answer if and only if greedy decoding gives that answer, since up to the first
    wrong token both read the same. Where it differs, what follows that token was read after the right one, so
    count such a text as wrong but do not quote it as what the model says.

    batch: a `data.TokenBatch`, on the model's device
    """
    with torch.no_grad():
        where = batch.targets != -100
        said = model.logits(model(batch).hidden[where]).argmax(-1)  # int64[S]
    texts: list[list[int]] = [[] for _ in batch.names]
    owners: Tensor = batch.owners[where]
    for owner, token in zip(owners.tolist(), said.tolist(), strict=True):
        texts[owner].append(token)
    return [model.backbone.tokenizer.decode(ids, skip_special_tokens=True) for ids in texts]
