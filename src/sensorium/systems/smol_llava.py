"""LLaVA's way with light parts: a picture's map, cell by cell, among the words of a small language model.

    image uint8[H, W, 3] ──► EfficientNet-Lite0, stages 6–9 ──► 7 × 7 tokens ──► MLP ──► + row, column ──┐
                                                                                                         ▼
    words ──────────────────────────► SmolLM2's embedding table ─────────────────────► SmolLM2-135M + LoRA ──► words

The composition is LLaVA-1.5's (Liu et al. 2023, arXiv:2310.03744, section 3): a picture encoder, a two-layer MLP, a
language model. Ours are the parts, chosen for a laptop: the lower stages of the encoder beside its last (they tell
drawings apart), learned rows and columns (a map of 49 cells is read as one line otherwise), and LoRA in place of full
tuning. The top of the encoder learns too when it is asked for: `tuned`.
"""

from __future__ import annotations

import torch
from torch import nn

from sensorium.backbones.causal import CausalBackbone
from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors.mlp import MlpProjector
from sensorium.projectors.positions import GridPositions
from sensorium.projectors.projector import Chain

STAGES = (6, 7, 8, 9)
CELL = 32  # pixels of the picture's side that one token stands for
# SmolLM2's own template, less the 24 tokens of its standing introduction, a tenth of all that a picture's row holds.
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PROMPTS = {"caption": "Describe the picture."}


def smol_llava(
    size: int = 224, hidden: int = 576, rank: int = 8, tuned: tuple[int, ...] = (7, 8, 9)
) -> MultimodalLM:
    """The system with pretrained encoder and language model, and an untrained connector.

    size:   side of the pictures in pixels, a multiple of 32
    hidden: width of the MLP's middle
    rank:   of LoRA; 0: the language model stays as it is
    tuned:  stages of the picture encoder that learn; (): all stay as they are
    """
    if size % CELL:
        raise ValueError(
            f"size={size}: expected a multiple of {CELL} pixels, one token for each {CELL} × {CELL}"
        )
    encoder = EfficientNetLite.pretrained(size=size, stages=STAGES).freeze()
    for stage in tuned:
        encoder.unfreeze(r"^head\." if stage == 9 else rf"^blocks\.{stage - 2}\.")
    # In bfloat16 on every machine: the published weights have 4 bits, and a checkpoint knows them by their hash.
    backbone = CausalBackbone.pretrained(dtype=torch.bfloat16)
    backbone.lm.requires_grad_(False)
    # In bfloat16 and with a mask, PyTorch's fused attention takes 1.5 times as long on a CPU as the eager one, and that
    # up to 1.16 times as long as this (a step of training).
    backbone.attend_in_blocks()
    if rank:
        backbone.add_lora(rank=rank, alpha=2.0 * rank)
    width, side = backbone.width, size // CELL
    mlp = MlpProjector(nn.Linear(encoder.width, hidden), nn.Linear(hidden, width))
    connector = Chain(mlp, GridPositions(width, side))
    return MultimodalLM({"image": encoder}, {"image": connector}, backbone, PROMPTS, TEMPLATE)
