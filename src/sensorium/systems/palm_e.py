"""PaLM-E (Driess et al. 2023, arXiv:2303.03378, sections 3 and 4): what sensors give stands among the words.

    image  uint8[H, W, 3] ──► EfficientNet-Lite ──► 7 × 7 map ──► pooled to 4 × 4 ──► MLP ──► 16 tokens ──┐
                                     (or not pooled: ──► MLP ──► + row, column ──► 49 tokens, as in smol_llava)
    object uint8[h, w, 3] ──► the same encoder  ──► 7 × 7 map ──► its mean ─────────► MLP ──► 1 token  ───┤
    state  float32[D] ──────► MLP, a token for each object (StateEncoder) ──► linear ───────► S tokens ───┤
                                     (`mixing`: ──► as many latents that read each other and them ──► linear)
                                                                                                          ▼
    words ──► embedding table ──────────► "<state> <image> What is left of the <object>?" ──► language model ──► words

    {"type": "state", "state": numbers}   {"type": "image", "image": picture}
    {"type": "image", "image": crop, "as": "object"}: one thing cut out of a picture (object-centred, section 4)

Encoders and connectors learn from the language model's loss alone; the language model is frozen or adapted (section
5, variations with model freezing): `lora=0` freezes it, a rank adds LoRA, and `"!backbone.*"` in a recipe's `freeze`
has all of it learn. The paper's are PaLM of 8, 62 and 540 billion parameters with a ViT of 4 or 22, none of them
published; ours are light parts for a laptop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from sensorium.backbones import CausalBackbone
from sensorium.data.scenes import STATE
from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.encoders.state import StateEncoder
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors import (
    Chain,
    GridPooling,
    LinearProjector,
    MlpProjector,
    PerceiverResampler,
    Projector,
)
from sensorium.projectors.positions import GridPositions
from sensorium.systems import two_towers
from sensorium.systems.smol_llava import CELL, STAGES, TEMPLATE

HEADS = 4  # of the attention between the state's tokens

# Configuration of a random language model, or None for the pretrained one, SmolLM2-135M-Instruct.
SIZES: dict[str, dict[str, Any] | None] = {
    "tiny": {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4},
    "135M": None,
}


def palm_e(
    size: str = "135M",
    tokenizer: Any = None,
    *,
    schema: Sequence[str] = STATE,
    by_object: bool = True,
    state_width: int | None = None,
    mixing: int = 0,
    pixels: int = 224,
    side: int = 4,
    hidden: int = 576,
    lora: int = 8,
) -> MultimodalLM:
    """A PaLM-E whose encoders of pictures, things and states write into one language model.

    size:      of the language model, from `SIZES`; a random one needs a tokenizer (a source or an object), and has a
               random picture encoder beside it
    schema:    names of the state's numbers; that of composed scenes by default
    by_object: a token for each object of the schema; False: one for the whole state
    state_width: of the state's tokens before their connector; None: hidden
    mixing:    layers in which the state's tokens read each other before the language model sees them, so that what
               holds between objects need not be worked out there
    pixels:    side of pictures and crops, a multiple of 32
    side:      a picture takes side² tokens; pixels / 32: it is not pooled, and each token is told its row and column,
               so that weights of the connector of `smol_llava` fit
    hidden:    middle width of the connectors
    lora:      rank of low-rank additions to the language model; 0: it is frozen
    """
    if pixels % CELL or not 1 <= side <= pixels // CELL:
        raise ValueError(
            f"got pixels={pixels}, side={side}; expected a multiple of {CELL} and a side from 1 to pixels / {CELL}"
        )
    config = two_towers.size_of(SIZES, size)
    if config is None:
        # In bfloat16 on every machine, and in blocks, for the reasons given in smol_llava.
        backbone = CausalBackbone.pretrained(dtype=torch.bfloat16).attend_in_blocks()
        picture = EfficientNetLite.pretrained(size=pixels, stages=STAGES).freeze()
    else:
        backbone = _random(config, two_towers.open_tokenizer(tokenizer, size))
        picture = EfficientNetLite(size=pixels, stages=STAGES)
    backbone.requires_grad_(False)
    if lora:
        backbone.add_lora(lora)
    state = StateEncoder(schema, state_width or hidden, by_object)
    return assemble(picture, state, backbone, side, hidden, mixing, None if config else TEMPLATE)


def assemble(
    picture: EfficientNetLite,
    state: StateEncoder,
    backbone: CausalBackbone,
    side: int = 4,
    hidden: int = 576,
    mixing: int = 0,
    template: str | None = None,
) -> MultimodalLM:
    """The composition out of built parts; pictures and things share one encoder."""
    W, D, map_side = picture.width, backbone.width, picture.size // CELL

    def connector(side_out: int) -> Projector:
        mlp = MlpProjector(nn.Linear(W, hidden), nn.Linear(hidden, D))
        if side_out == map_side > 1:
            return Chain(mlp, GridPositions(D, side_out))
        return Chain(GridPooling(W, map_side, side_out), mlp)

    read_state: Projector = LinearProjector(nn.Linear(state.width, D))
    read_state.length = len(state.objects)
    if mixing:
        latents = len(state.objects)
        read_state = Chain(
            PerceiverResampler(state.width, layers=mixing, heads=HEADS, latents=latents), read_state
        )
    return MultimodalLM(
        encoders={"image": picture, "object": picture, "state": state},
        projectors={"image": connector(side), "object": connector(1), "state": read_state},
        backbone=backbone,
        template=template,
    )


def _random(config: dict[str, Any], tokenizer: Any) -> CausalBackbone:
    from transformers import LlamaConfig

    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return CausalBackbone.random(LlamaConfig(vocab_size=len(tokenizer), **ids, **config), tokenizer)
