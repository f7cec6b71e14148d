"""Image–text contrast with a queue and softened targets, made by a slowly following copy of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.objectives.column_pairs import share_meaning
from sensorium.objectives.matching import same_meaning


@dataclass(frozen=True)
class MomentumContrast:
    """(model, batch) -> {"contrast": float[]}, for a model with a `MomentumQueue` (ALBEF, Li et al. 2021, eq. 6).

    Candidates are the copy's vectors of this batch and of the queue, P + Q of them. The targets of a row are

        y = α softmax(scale · cosine by the copy) + (1 − α) · (even over the candidates of its meaning)

    and L = (H(y, softmax(scale · x · candidates)) for pictures + the same for texts) / 2. α = 0 and an empty queue
    at the first step: CLIP's loss, with several right answers to a row. Texts on the web are often about more than
    their picture: α > 0 forgives the model what its own past finds plausible.

    alpha: α, the paper's 0.4

    Every call in training moves the copy by a step and puts its vectors into the queue.
    """

    alpha: float = 0.4

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < 1:
            raise ValueError(f"alpha={self.alpha}: give 0 <= alpha < 1")

    def __call__(self, model: Any, batch: Any) -> dict[str, Tensor]:
        pairs = model(batch)
        return self.losses(model, pairs, batch.meanings, batch.columns[model.image_column])

    def losses(self, model: Any, pairs: Any, meanings: Tensor, column: Any) -> dict[str, Tensor]:
        """The same of an output that is at hand. column: the batch's pictures, which the copy sees for itself."""
        if not len(pairs.image):
            return {}
        queue, P = model.queue, len(pairs.image)
        meanings = meanings.to(pairs.rows.device)[pairs.rows]
        slow_images, slow_texts = self.by_copy(model, pairs, column)
        held, K = queue.held(), queue.meanings.shape[1]
        known = F.pad(meanings, (0, max(0, K - meanings.shape[1])), value=-1)[:, :K]
        images = torch.cat([slow_images, queue.images[:held]])
        texts = torch.cat([slow_texts, queue.texts[:held]])
        same = torch.cat([same_meaning(meanings), share_meaning(known, queue.meanings[:held])], 1)
        right = same.float() / same.sum(1, keepdim=True)
        losses = []
        for mine, slow, others in zip(pairs.vectors.values(), (slow_images, slow_texts), (texts, images)):
            with torch.no_grad():
                plausible = (pairs.scale * slow @ others.T).softmax(1)
                target = self.alpha * plausible + (1 - self.alpha) * right
            losses.append(-(target * (pairs.scale * mine @ others.T).log_softmax(1)).sum(1).mean())
        if model.training:
            queue.put(slow_images, slow_texts, known)
        assert len(slow_images) == P
        return {"contrast": (losses[0] + losses[1]) / 2}

    @torch.no_grad()
    def by_copy(self, model: Any, pairs: Any, column: Any) -> tuple[Tensor, Tensor]:
        """The copy's vectors of the same rows, float[P, D] twice, after its step in training."""
        if model.training:
            model.queue.followed(model)
        copies = model.queue.copies
        if isinstance(column.inputs, dict) and "vision" in copies:
            pooled = copies["vision"](column.inputs).pooled
        else:
            pooled = model.see(column.inputs)[1]
        kept = torch.zeros(len(column.present), dtype=torch.bool, device=pooled.device)
        kept[pairs.rows] = True
        pooled = pooled[kept[column.present.to(pooled.device)]]
        words = pairs.words
        first = copies["text"](words.ids, attention_mask=words.mask.long()).last_hidden_state[:, 0]
        images, texts = copies["image_head"](pooled), copies["text_head"](first)
        return F.normalize(images.float(), dim=-1), F.normalize(texts.float(), dim=-1)
