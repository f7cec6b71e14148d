"""A small language model that names and describes one thing, with what it may be called in its prompt.

    image uint8[H, W, 3] ──► EfficientNet-Lite0, stages 6–9, pooled ──► linear ──► 4 tokens ──┐
                                      │ frozen                                                ▼
                                      └──► nearest captions and words ───────────────► "Similar pictures: …; …"
                                                                                              ▼
                                                                    SmolLM2-135M + LoRA ──► a name, a caption

The prefix is ClipCap's (Mokady et al. 2021, arXiv:2111.09734), the names in the prompt those of SmallCap (Ramos et al.
2023, arXiv:2209.15323), which retrieves captions by the picture. They come from outside: they are words of the prompt
(`recipes/captions.py` finds them, among the captions of training pictures and words that no picture goes with), and
without them the system is a plain captioner, of which the weights that come with the repository know little.
"""

from __future__ import annotations

import torch
from torch import nn

from sensorium.backbones.causal import CausalBackbone
from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors.prefix import PrefixProjector
from sensorium.systems.smol_llava import STAGES, TEMPLATE

LINEAR = (
    *(f"self_attn.{name}_proj" for name in ("q", "k", "v", "o")),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)
PROMPTS = {"caption": "Describe the picture.", "name": "Name the thing."}


def smol_captioner(size: int = 224, tokens: int = 4, rank: int = 8, layers: int = 10) -> MultimodalLM:
    """The system with pretrained, frozen encoder and language model, and an untrained prefix.

    size:   side of the pictures in pixels
    tokens: that stand for a picture
    rank:   of LoRA; 0: the language model stays as it is
    layers: the last so many have LoRA. Where the prefix does not learn, nothing is computed backwards below them
    """
    encoder = EfficientNetLite.pretrained(size=size, stages=STAGES).freeze()
    backbone = CausalBackbone.pretrained(dtype=torch.bfloat16)  # on every machine, as in smol_llava
    backbone.lm.requires_grad_(False)
    backbone.attend_in_blocks()
    if rank:
        last = range(len(backbone.lm.base_model.layers))[-layers:]
        targets = [f"layers.{number}.{linear}" for number in last for linear in LINEAR]
        backbone.add_lora(rank=rank, alpha=2.0 * rank, targets=targets)
    prefix = PrefixProjector(nn.Linear(encoder.width, tokens * backbone.width), tokens)
    return MultimodalLM({"image": encoder}, {"image": prefix}, backbone, PROMPTS, TEMPLATE)
