"""Naming the cells of a picture's map by the words of a language model, without running the language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class GridNaming:
    """(model, batch) -> {"naming": float[], "norm": float[]}

    Each token z of a map says what stands in its cell. With the words' vectors v_1 … v_C (means of the language
    model's input embeddings over a name's tokens) and their mean m:

        naming = mean over cells  −log softmax_c( scale · cos(z − m, v_c − m) )[right c]
        norm   = mean over cells  (|z − m| / mean_c |v_c − m| − 1)²

    so that a trained token lies where the language model keeps that word, and training through the language model
    need not begin from noise. A warm start of this kind (the mean of a picture's tokens against the mean of its
    caption's) was worth more to a captioner on the bundled stamps than any number of steps; ours is dense, which
    composed scenes allow. No paper's loss; its form is that of zero-shot classification (Radford et al. 2021, §3.1).

    model:   has `features(name, inputs) -> Features`, as `MultimodalLM` does
    vectors: float[C, D]
    name:    the encoder whose Features are read
    rest:    classes from this number on (the grounds) together count as much as `rest_weight` things, for most
             cells of a scene are empty

    batch.inputs: prepared media; batch.cells: int64[B, T], the class of each cell
    """

    vectors: Tensor
    rest: int
    name: str = "image"
    scale: float = 20.0
    rest_weight: float = 0.3

    def __call__(self, model: Any, batch: Any) -> dict[str, Tensor]:
        centred = self.centred(model.features(self.name, batch.inputs))
        logits = self.scale * F.normalize(centred, dim=-1) @ self.directions().to(centred.device).T
        losses = F.cross_entropy(logits.flatten(0, 1), batch.cells.flatten(), reduction="none").view(
            batch.cells.shape
        )
        is_thing = batch.cells < self.rest
        things = losses[is_thing].mean() if is_thing.any() else losses.sum() * 0
        rest = losses[~is_thing].mean() if not is_thing.all() else losses.sum() * 0
        length = (self.vectors - self.vectors.mean(0)).norm(dim=-1).mean()
        return {
            "naming": things + self.rest_weight * rest,
            "norm": (centred.norm(dim=-1) / length - 1).square().mean(),
        }

    def centred(self, features: Any) -> Tensor:
        """The tokens of Features, float[B, T, D], less the mean of the words' vectors."""
        tokens: Tensor = features.tokens
        return tokens.float() - self.vectors.mean(0).to(tokens.device)

    def directions(self) -> Tensor:
        """float[C, D], of unit length."""
        return F.normalize(self.vectors - self.vectors.mean(0), dim=-1)

    def logits(self, model: Any, inputs: Any) -> Tensor:
        """float[B, T, C]: cosines, how much each cell looks like each word."""
        return F.normalize(self.centred(model.features(self.name, inputs)), dim=-1) @ self.directions().T


def word_vectors(backbone: Any, names: Sequence[str]) -> Tensor:
    """float[C, D]: for each name the mean of the input embeddings of its tokens, as they stand after a space."""
    with torch.no_grad():
        rows = [backbone.tokenizer(" " + name, add_special_tokens=False)["input_ids"] for name in names]
        return torch.stack([backbone.embed(torch.tensor(ids)).float().mean(0) for ids in rows])
