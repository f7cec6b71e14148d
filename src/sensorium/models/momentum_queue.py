"""`MomentumQueue`: a model's slowly following copy, and the vectors that it made of the last rows."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class MomentumQueue(nn.Module):
    """Steadier targets and more negatives than a batch has (MoCo, He et al. 2020; ALBEF, Li et al. 2021, §3.2).

        picture ─► copy of the vision, image head ─► float[B, D] ─┬─► targets of this batch
        words ───► copy of encoder, text head ─────► float[B, D] ─┘        │
                   copy ← m · copy + (1 − m) · model              [Q, D] ◄─┘ the oldest rows leave

    model:    with `vision`, `text`, `heads`; the copy does not learn, and is saved with the model, so that a
              resumed run goes on bit for bit. A vision that is frozen and read from the cache is not copied
    width:    D; size: Q rows; momentum: m; keys: meaning keys kept of a row
    """

    def __init__(self, model: Any, width: int, size: int, momentum: float = 0.995, keys: int = 4) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"queue of {size} rows; expected at least 1, or none at all")
        self.momentum = momentum
        learning = any(parameter.requires_grad for parameter in model.vision.parameters())
        parts = {
            "text": model.text.model,
            "image_head": model.heads["image"],
            "text_head": model.heads["text"],
        }
        if learning:
            parts["vision"] = model.vision
        self.copies = nn.ModuleDict({name: copy.deepcopy(part) for name, part in parts.items()})
        self.requires_grad_(False)
        self.register_buffer("images", torch.zeros(size, width))
        self.register_buffer("texts", torch.zeros(size, width))
        self.register_buffer("meanings", torch.full((size, keys), -1))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))  # rows ever put in

    images: Tensor
    texts: Tensor
    meanings: Tensor
    filled: Tensor

    def followed(self, model: Any) -> None:
        """One step of the copy after the model."""
        parts = {
            "vision": model.vision,
            "text": model.text.model,
            "image_head": model.heads["image"],
            "text_head": model.heads["text"],
        }
        with torch.no_grad():
            for name, mine in self.copies.items():
                for slow, fast in zip(mine.parameters(), parts[name].parameters(), strict=True):
                    slow.lerp_(fast.detach(), 1 - self.momentum)

    def held(self) -> int:
        """How many rows the queue holds."""
        return min(int(self.filled), len(self.images))

    def put(self, images: Tensor, texts: Tensor, meanings: Tensor) -> None:
        """Add this batch's vectors float[B, D] and meanings int64[B, K]; the oldest rows leave."""
        size = len(self.images)
        images, texts, meanings = images[:size], texts[:size], meanings[:size, : self.meanings.shape[1]]
        places = (int(self.filled) + torch.arange(len(images), device=images.device)) % size
        with torch.no_grad():
            self.images[places], self.texts[places] = images, texts
            self.meanings[places] = -1
            self.meanings[places, : meanings.shape[1]] = meanings
            self.filled += len(images)
