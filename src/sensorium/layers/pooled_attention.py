"""Attention that pools: many positions -> one vector, at once or level by level.

Yang et al. 2016, "Hierarchical Attention Networks for Document Classification" (NAACL, section 2.2). B item,
S sentence (or scene), T word (or region), D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.layers.attention import masked_softmax


class AttentionPooling(nn.Module):
    """x float[B, T, D] -> float[B, D]: the mean of x, weighted by how well each position answers a learned question.

        x ─┬─► linear ──► tanh ──► · question ──► softmax over T ─┐
           └──────────────────────────────────────────────────────┴──► Σ weight · x

    Equations 5 to 7. inner: width of the question, None: D
    """

    def __init__(self, width: int, *, inner: int | None = None) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, inner or width)
        self.question = nn.Linear(inner or width, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """mask: bool[B, T]; an item with nothing real is zeros."""
        return (self.weights(x, mask)[:, 0] @ x)[:, 0]

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """float[B, 1, 1, T]: one head, one query. Zeros for an item with nothing real."""
        mask = x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
        logits = self.question(torch.tanh(self.hidden(x)))[..., 0]
        return masked_softmax(logits, mask)[:, None, None]


class HierarchicalAttention(nn.Module):
    """x float[B, S, T, D] -> float[B, D]: words into sentences, sentences into one vector; or regions, scenes.

        words ──► AttentionPooling ──► (between) ──► sentences ──► AttentionPooling ──► vector

    between: float[B, S, D] -> float[B, S, D], where sentences may see each other: a GRU in the paper, an
             `AttentionBlock` here as well; called as `between(sentences, mask=bool[B, S])`. None: nothing
    inner:   width of both questions, None: D
    """

    def __init__(self, width: int, *, inner: int | None = None, between: nn.Module | None = None) -> None:
        super().__init__()
        self.words = AttentionPooling(width, inner=inner)
        self.sentences = AttentionPooling(width, inner=inner)
        self.between = between

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """mask: bool[B, S, T]; a sentence without real words does not count, an item without any is zeros."""
        sentences, here = self._sentences(x, mask)
        return self.sentences(sentences, here)

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """float[B, 1, S, T]: each word's weight in its sentence times its sentence's; an item's sum to 1."""
        B, S, T, _ = x.shape
        flat = None if mask is None else mask.flatten(0, 1)
        words = self.words.weights(x.flatten(0, 1), flat).view(B, 1, S, T)
        return words * self.sentence_weights(x, mask).transpose(2, 3)

    def sentence_weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """float[B, 1, 1, S]."""
        return self.sentences.weights(*self._sentences(x, mask))

    def _sentences(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """float[B, S, D], and bool[B, S]: which have any word."""
        B, S, T, D = x.shape
        mask = x.new_ones(B, S, T, dtype=torch.bool) if mask is None else mask
        sentences, here = self.words(x.flatten(0, 1), mask.flatten(0, 1)).view(B, S, D), mask.any(-1)
        return (sentences if self.between is None else self.between(sentences, mask=here)), here
