"""A model that sees -> a folder in the LLaVA layout of `transformers`, which vLLM and llama.cpp read as well.

    MultimodalLM ──► LlavaForConditionalGeneration ──┐
    tokenizer ──► "<image>" added ───────────────────┼──► folder
    ImagePreparation, chat template ──► processor ───┘

The layout holds one vision transformer (CLIP's, SigLIP's), a connector of two layers and a causal language model.
LoRA is merged into the weights.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sensorium.backbones.opening import quiet
from sensorium.data.templates import PLAIN
from sensorium.encoders.image import ImagePreparation, TransformersImageEncoder
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors import Chain, DropFirst, MlpProjector
from sensorium.systems import llava, two_towers

IMAGE = "<image>"

# Before a language model's own template: messages of parts become messages of text, a picture the word <image>.
FLATTEN = (
    "{%- set flat = namespace(messages=[], text='') -%}"
    "{%- for message in messages -%}"
    "{%- if message['content'] is string -%}{%- set flat.text = message['content'] -%}"
    "{%- else -%}{%- set flat.text = '' -%}"
    "{%- for part in message['content'] -%}"
    "{%- set flat.text = flat.text + ('<image>' if part['type'] == 'image' else part['text']) -%}"
    "{%- endfor -%}{%- endif -%}"
    "{%- set flat.messages = flat.messages + [dict(role=message['role'], content=flat.text)] -%}"
    "{%- endfor -%}"
    "{%- set messages = flat.messages -%}"
)


class ExportError(ValueError):
    """A part that the LLaVA layout cannot hold: which, and what it can."""


def export_llava(model: MultimodalLM, folder: str | Path) -> Path:
    """Write config, safetensors, tokenizer and processor into a new folder.

        LlavaForConditionalGeneration.from_pretrained(folder), AutoProcessor.from_pretrained(folder)

    compute the logits that `model` computes, in the language model's precision. The tokenizer gains "<image>"; where
    the embedding table has no row left for it, it gains one, the mean of all others: its logit is the mean of all
    logits and so never the largest.

    Raises ExportError, naming the part, when the layout cannot hold the model, and when the folder has files.
    """
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ExportError(f"{folder} is there already and not empty; expected the name of a new folder")
    tokenizer, image_id = _with_image_token(model.backbone.tokenizer)
    theirs = to_transformers(model, image_id)
    fresh = folder.with_name(f".{folder.name}.part")  # renamed when whole: a full disk leaves no half folder
    shutil.rmtree(fresh, ignore_errors=True)
    with quiet():
        _save(theirs, tokenizer, _encoder(model)[1], fresh)
    if folder.is_dir():
        folder.rmdir()
    fresh.rename(folder)
    return folder


def to_transformers(model: MultimodalLM, image_id: int) -> Any:
    """The `LlavaForConditionalGeneration` of the same weights, LoRA merged (evaluation mode).

    image_id: of the token that stands for a picture's patches

    Raises ExportError as `export_llava` does.
    """
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    name, encoder = _encoder(model)
    mlp, drop_class = _mlp(model.projectors[name], name)
    lm = _language_model(model)
    projector: Any = model.projectors[name]
    # The layout ties a head to `embed_tokens` only: where the table is elsewhere (GPT-2, OPT), head and table part.
    tied = lm.config.tie_word_embeddings and "embed_tokens" in dict(lm.base_model.named_children())
    config = LlavaConfig(
        vision_config=_vision(encoder).to_dict(),
        text_config={**lm.config.to_dict(), "tie_word_embeddings": tied},
        image_token_index=image_id,
        image_seq_length=projector.length_of(_tokens(encoder)),
        projector_hidden_act=_activation(mlp, name),
        multimodal_projector_bias=mlp.lift.bias is not None,
        vision_feature_layer=-1 if encoder.layer is None else encoder.layer,
        vision_feature_select_strategy="default" if drop_class else "full",
        tie_word_embeddings=tied,
    )
    theirs: Any = LlavaForConditionalGeneration(config)
    if type(theirs.model.language_model) is not type(lm.base_model):
        raise ExportError(
            f"backbone: the LLaVA layout would open {type(theirs.model.language_model).__name__} where this model has "
            f"{type(lm.base_model).__name__}"
        )
    merged = MultimodalLM({name: encoder}, {name: model.projectors[name]}, type(model.backbone)(lm, None))
    state = two_towers.rename(merged.state_dict(), two_towers.reverse(llava.keys(merged)))
    theirs.load_state_dict(state)
    rows = theirs.get_input_embeddings().num_embeddings
    if image_id >= rows:
        theirs.resize_token_embeddings(image_id + 1, mean_resizing=False)
        with torch.no_grad():
            for table in (theirs.get_input_embeddings(), theirs.get_output_embeddings()):
                table.weight[rows:] = table.weight[:rows].float().mean(0)
    theirs.generation_config = copy.deepcopy(lm.generation_config)
    theirs.generation_config.suppress_tokens = [image_id]
    return theirs.to(lm.dtype).eval()


# ---- what the layout can hold ------------------------------------------------------------------------------


def _encoder(model: MultimodalLM) -> tuple[str, TransformersImageEncoder]:
    encoders: dict[str, Any] = dict(model.encoders.items())
    held = [
        isinstance(encoder, TransformersImageEncoder) and _vision(encoder).model_type in llava.VISION
        for encoder in encoders.values()
    ]
    if held != [True]:
        got = ", ".join(f"{name}: {type(encoder).__name__}" for name, encoder in encoders.items())
        raise ExportError(
            f"encoders: got {got}; the LLaVA layout holds one picture encoder, a vision transformer of CLIP or SigLIP "
            "(TransformersImageEncoder), and nothing else"
        )
    ((name, encoder),) = encoders.items()
    if encoder.layer is None and _vision(encoder).model_type != "clip_vision_model":
        raise ExportError(
            f"encoders.{name}: its tokens are the last layer's after a norm; the LLaVA layout holds a hidden "
            "layer: build the encoder with layer=-1 or layer=-2"
        )
    return name, encoder


def _mlp(projector: Any, name: str) -> tuple[MlpProjector, bool]:
    """The two layers, and whether a class token is dropped before them."""
    parts = list(projector.parts) if isinstance(projector, Chain) else [projector]
    drop_class = len(parts) == 2 and isinstance(parts[0], DropFirst) and parts[0].count == 1
    mlp: Any = parts[-1]
    fits = isinstance(mlp, MlpProjector) and len(parts) == 1 + drop_class
    if not fits or mlp.lift.out_features != mlp.width or (mlp.lift.bias is None) != (mlp.lower.bias is None):
        raise ExportError(
            f"projectors.{name}: got {_described(parts)}; the LLaVA layout holds an MlpProjector whose two layers "
            "are both as wide as the language model and both with or both without bias, with or without DropFirst(1) "
            "before it"
        )
    return mlp, drop_class


def _described(parts: list[Any]) -> str:
    def one(part: Any) -> str:
        if isinstance(part, MlpProjector):
            return f"MlpProjector({part.lift.in_features} -> {part.lift.out_features} -> {part.width})"
        return type(part).__name__

    return ", ".join(one(part) for part in parts)


def _activation(mlp: MlpProjector, name: str) -> str:
    for known, make in llava.ACTIVATIONS.items():
        if repr(make()) == repr(mlp.activation):  # says the kind of GELU, too
            return known
    raise ExportError(
        f"projectors.{name}: got the activation {mlp.activation}; expected one of {', '.join(llava.ACTIVATIONS)}"
    )


def _language_model(model: MultimodalLM) -> Any:
    """With LoRA merged, where it has any."""
    backbone = model.backbone
    if backbone.kind != "causal":
        raise ExportError(
            f"backbone: got {type(backbone.lm).__name__}, an encoder-decoder; the LLaVA layout holds a causal language "
            "model"
        )
    head = getattr(backbone.lm, "lm_head", None)
    if (
        not isinstance(head, nn.Linear)
        or head.bias is not None
        or head.in_features != backbone.lm.config.hidden_size
    ):
        raise ExportError(
            f"backbone: the head of {type(backbone.lm).__name__} is not a linear layer `lm_head` without bias, as "
            "wide as the states; the LLaVA layout holds no other"
        )
    adapted = any(".lora_" in name for name, _ in backbone.named_parameters())
    return backbone.merged().lm if adapted else backbone.lm


# ---- tokenizer and processor -------------------------------------------------------------------------------


def _with_image_token(tokenizer: Any) -> tuple[Any, int]:
    from tokenizers import AddedToken

    tokenizer = copy.deepcopy(tokenizer)
    if IMAGE not in tokenizer.get_vocab():
        tokenizer.add_tokens([AddedToken(IMAGE, special=True, normalized=False)], special_tokens=True)
    return tokenizer, tokenizer.convert_tokens_to_ids(IMAGE)


def _save(theirs: Any, tokenizer: Any, encoder: TransformersImageEncoder, folder: Path) -> None:
    from transformers import LlavaProcessor

    vision = _vision(encoder)
    processor = LlavaProcessor(
        image_processor=_image_processor(encoder.make),
        tokenizer=tokenizer,
        patch_size=vision.patch_size,
        vision_feature_select_strategy=theirs.config.vision_feature_select_strategy,
        chat_template=FLATTEN + (tokenizer.chat_template or PLAIN),
        num_additional_image_tokens=_tokens(encoder) - (vision.image_size // vision.patch_size) ** 2,
    )
    theirs.save_pretrained(folder)
    processor.save_pretrained(folder)


def _image_processor(make: ImagePreparation) -> Any:
    from transformers import CLIPImageProcessorPil

    resize = make.resize
    # Cropping to the size resized to changes nothing, and readers of the layout look for the size there.
    crop = make.crop or (resize if isinstance(resize, tuple) else None)
    assert crop is not None, "a preparation without a fixed size cannot be batched"
    size = (
        {"shortest_edge": resize}
        if isinstance(resize, int)
        else dict(zip(("height", "width"), resize or crop))
    )
    return CLIPImageProcessorPil(
        do_resize=resize is not None,
        size=size,
        resample=make.resample,
        do_center_crop=True,
        crop_size={"height": crop[0], "width": crop[1]},
        image_mean=list(make.mean),
        image_std=list(make.std),
    )


def _tokens(encoder: TransformersImageEncoder) -> int:
    """Positions of a picture in the vision transformer, its class token counted."""
    vision = _vision(encoder)
    return (vision.image_size // vision.patch_size) ** 2 + int(vision.model_type == "clip_vision_model")


def _vision(encoder: TransformersImageEncoder) -> Any:
    return encoder.model.config
