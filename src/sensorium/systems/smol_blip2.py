"""BLIP-2's way with light parts: a few learned queries read a picture's map for a frozen small language model.

    image uint8[H, W, 3] ──► EfficientNet-Lite0, stages 6–9 ──► 7 × 7 tokens ──► Q-Former ──► linear ──┐
                                                                 (8 queries read them)                 ▼
    words ──────────────────────────► embedding table ──────────────────────► SmolLM2-135M, frozen ──► words

The composition is BLIP-2's second stage (Li et al. 2023, arXiv:2301.12597, section 3.2): Q-Former and linear layer
learn, encoder and language model do not. The Q-Former begins at random, or, as the paper's, with what a first stage
taught it (systems/smol_blip2_stage1.py).

With `language_model="t5-debug"` a random T5 of two layers stands for Flan-T5: it shows the prefix objective of figure 3
(the question is read by the encoder, the answer written by the decoder), and says nothing of worth.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from sensorium.backbones import CausalBackbone, EncoderDecoderBackbone
from sensorium.data.templates import READ_AND_ANSWER
from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors import Chain, LinearProjector, QFormer
from sensorium.systems.smol_llava import PROMPTS, STAGES, TEMPLATE

LanguageModel = Literal["smollm2", "t5-debug"]
HEADS = 8


def smol_blip2(
    size: int = 224,
    queries: int = 8,
    layers: int = 4,
    width: int = 128,
    rank: int = 0,
    language_model: LanguageModel = "smollm2",
) -> MultimodalLM:
    """The system with pretrained, frozen encoder and language model, and an untrained Q-Former.

    size:           side of the pictures in pixels
    queries:        tokens that stand for a picture
    layers, width:  of the Q-Former; every other layer reads the picture
    rank:           of LoRA in the language model; 0: it stays as it is
    language_model: "smollm2", or "t5-debug", a small random encoder-decoder
    """
    encoder = EfficientNetLite.pretrained(size=size, stages=STAGES).freeze()
    causal = CausalBackbone.pretrained(dtype=torch.bfloat16)
    backbone: Any = causal
    if language_model == "t5-debug":
        backbone = _small_t5(causal.tokenizer)
    elif language_model != "smollm2":
        raise ValueError(f"language_model: got {language_model!r}; expected 'smollm2' or 't5-debug'")
    else:
        causal.attend_in_blocks()
    backbone.lm.requires_grad_(False)
    if rank:
        backbone.add_lora(rank=rank, alpha=2.0 * rank)
    qformer = QFormer(
        width,
        encoder.width,
        layers=layers,
        heads=HEADS,
        hidden=4 * width,
        queries=queries,
        norm_media=True,  # its channels differ in size by two orders of magnitude
    )
    connector = Chain(qformer, LinearProjector(nn.Linear(width, backbone.width)))
    template = TEMPLATE if backbone.kind == "causal" else READ_AND_ANSWER
    return MultimodalLM({"image": encoder}, {"image": connector}, backbone, PROMPTS, template)


def _small_t5(tokenizer: Any) -> EncoderDecoderBackbone:
    """Random, and the same random each time: a checkpoint holds it whole all the same, for it has no source."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(
        "t5",
        vocab_size=len(tokenizer),
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return EncoderDecoderBackbone.random(config, tokenizer)
