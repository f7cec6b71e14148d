"""The face that both kinds of language model have: behind an embedding table, in front of a head."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sensorium.backbones import lora


class Backbone(nn.Module):
    """A language model of `transformers`, its tokenizer and where they came from.

        ids int64[…] ──embed──► float[B, L, D] ──forward──► hidden ──logits──► float[…, V]

    A subclass writes `forward` and `logits`.

    kind:      "causal" or "encoder_decoder"
    lm:        a model of `transformers` with its head
    tokenizer: its tokenizer; the model does not use it, whoever prepares its input does
    source:    where the weights came from ("pypi:…", "hf:…", a folder), None when random or changed
    width:     D of the embeddings
    """

    kind: str

    def __init__(self, lm: Any, tokenizer: Any, source: str | None = None) -> None:
        super().__init__()
        self.lm, self.tokenizer, self.source = lm, tokenizer, source
        self.width = int(lm.get_input_embeddings().embedding_dim)

    def embed(self, ids: Tensor) -> Tensor:
        """int64[…] -> float[…, D]"""
        embedded: Tensor = self.lm.get_input_embeddings()(ids)
        return embedded

    def logits(self, hidden: Tensor) -> Tensor:
        """float[…, D] -> float[…, V]. Give contiguous rows: a strided slice costs many times as much in bfloat16."""
        raise NotImplementedError

    def likeliest(self, hidden: Tensor) -> Tensor:
        """float[…, D] -> int64[…], the first of the tokens whose logit is the largest."""
        return self.logits(hidden).float().argmax(-1)  # bfloat16's own takes five times as long

    def add_lora(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        targets: Sequence[str] | str = "all-linear",
    ) -> Self:
        """Freeze the weights and give linear layers a trainable low-rank addition (`lora.add`)."""
        lora.add(self.lm, rank, alpha, dropout, targets)
        return self

    def merged(self) -> Self:
        """A copy whose weights hold what LoRA added to them: equal outputs, no adapters, `source` None."""
        return type(self)(lora.merged(self.lm), self.tokenizer)

    def checkpoint_gradients(self, on: bool = True) -> Self:
        """Keep only each layer's input for the backward pass and compute the layer again there, or stop doing so.

        Less memory for about a third more time (Chen et al. 2016, arXiv:1604.06174). The switch of `transformers` does
        nothing in evaluation mode, which is the mode of a frozen language model that a projector is trained
        through; this one works in both. Steps with a cache are never computed twice.
        """
        from transformers.modeling_layers import GradientCheckpointingLayer

        for layer in self.lm.modules():
            if isinstance(layer, GradientCheckpointingLayer):
                layer.__dict__.pop("forward", None)
                if on:
                    layer.__dict__["forward"] = functools.partial(_recomputed, layer.forward)
        return self


def _recomputed(forward: Callable[..., Any], *args: Any, **options: Any) -> Any:
    if not torch.is_grad_enabled() or options.get("past_key_values") is not None:
        return forward(*args, **options)
    return checkpoint(forward, *args, use_reentrant=False, **options)
