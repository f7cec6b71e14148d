"""A small language model that hears: Whisper's frames, two by two, among its words.

    audio float32[T] ──► Whisper's encoder (frozen) ──► 50 tokens/s ──► 2 side by side ──► MLP ──► 25 tokens/s ──┐
                                                                                                                 ▼
    words ────────────────────────────► SmolLM2's embedding table ───────────────────────► SmolLM2-135M + LoRA ──► words

The composition is SLAM-ASR's (Ma et al. 2024, arXiv:2402.08846, section 3): a speech encoder, stacked frames, a
two-layer connector, a language model. They stack five frames; with two, a token is no longer than a letter is
spoken, so that the connector can first be taught to spell (`objectives.spelling`). Ours are the parts: Whisper tiny.en,
which has heard English only, and SmolLM2-135M with LoRA.
"""

from __future__ import annotations

import torch
from torch import nn

from sensorium.backbones.causal import CausalBackbone
from sensorium.encoders.audio import WhisperEncoder
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors import Chain, FrameStacking, MlpProjector
from sensorium.systems.smol_llava import TEMPLATE

PROMPTS = {"transcribe": "Write down what is said."}


def smol_listener(stacked: int = 2, hidden: int = 576, rank: int = 8) -> MultimodalLM:
    """The system with pretrained encoder and language model, and an untrained connector.

    stacked: frames of 20 ms that make one token
    hidden:  width of the MLP's middle
    rank:    of LoRA; 0: the language model stays as it is
    """
    encoder = WhisperEncoder.pretrained().freeze()
    # In bfloat16 on every machine, and in blocks, for the reasons given in smol_llava.
    backbone = CausalBackbone.pretrained(dtype=torch.bfloat16).attend_in_blocks()
    backbone.lm.requires_grad_(False)
    if rank:
        backbone.add_lora(rank=rank, alpha=2.0 * rank)
    frames = FrameStacking(encoder.width, stacked)
    mlp = MlpProjector(nn.Linear(frames.width, hidden), nn.Linear(hidden, backbone.width))
    return MultimodalLM({"audio": encoder}, {"audio": Chain(frames, mlp)}, backbone, PROMPTS, TEMPLATE)
