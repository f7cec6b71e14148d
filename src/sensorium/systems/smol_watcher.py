"""A small language model that watches: what VideoPrism makes of every place of a clip, among its words.

    video uint8[F, H, W, 3] ──► FactorisedVideoEncoder ──► n · N tokens ──► the n frames of a place side by side
                                                                            ──► MLP ──► + row, column ──► N tokens ──┐
                                                                                                                     ▼
    words ──────────────────────────────────► SmolLM2's embedding table ──────────────► SmolLM2-135M + LoRA ──► words

    {"type": "video", "video": "clip.mp4"}

LLaVA's composition (see smol_llava) with a video encoder in the picture encoder's place, as Video-LLaVA has it (Lin et
al. 2023, arXiv:2311.10122). The encoder comes from `sensorium train videoprism` or `masked_videoprism`, trained and
then frozen; a checkpoint holds its weights. The pretrained language model has seen words only.
"""

from __future__ import annotations

import torch
from torch import nn

from sensorium.backbones.causal import CausalBackbone
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors import Chain, GridPositions, MlpProjector, PlaceStacking
from sensorium.systems.smol_llava import TEMPLATE
from sensorium.systems.videoprism import SIZES, video_tower

PROMPTS = {"caption": "Describe the clip."}


def smol_watcher(size: str = "tiny", hidden: int = 576, rank: int = 8) -> MultimodalLM:
    """The system with a pretrained language model, and an untrained encoder and connector.

    size:   of the video encoder, one of `videoprism.SIZES`
    hidden: width of the MLP's middle
    rank:   of LoRA; 0: the language model stays as it is
    """
    encoder = video_tower(size).freeze()
    # In bfloat16 on every machine, and in blocks, for the reasons given in smol_llava.
    backbone = CausalBackbone.pretrained(dtype=torch.bfloat16).attend_in_blocks()
    backbone.lm.requires_grad_(False)
    if rank:
        backbone.add_lora(rank=rank, alpha=2.0 * rank)
    side = SIZES[size].pixels // SIZES[size].patch
    places = PlaceStacking(encoder.width, encoder.frames, side**2)
    mlp = MlpProjector(nn.Linear(places.width, hidden), nn.Linear(hidden, backbone.width))
    connector = Chain(places, mlp, GridPositions(backbone.width, side))
    return MultimodalLM({"video": encoder}, {"video": connector}, backbone, PROMPTS, TEMPLATE)
