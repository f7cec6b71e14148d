"""Pictures, words and speech in one space, from three light encoders that stay frozen.

    image  uint8[H, W, 3] ──► EfficientNet-Lite0, stages 6–9 pooled ──► CanonicalHead ──┐
    text   str ─────────────► MiniLM, layers 0, 3, 6 pooled ──────────► CanonicalHead ──┼──► / |·| ──► float[P, D]
    audio  float32[T] ──────► Whisper tiny.en, statistics of 5 states ► CanonicalHead ──┤
    video  uint8[F, H, W, 3] ► EfficientNet-Lite0 a frame, FrameChanges ► CanonicalHead ┘  (where the data have clips)

Locked towers (LiT, Zhai et al. 2022) bound to pictures and words (ImageBind, Girdhar et al. 2023), the heads started
from the closed form (`objectives/canonical_correlation.py`) and trained on by InfoNCE. Each head then recalls the
training examples that are like the item (Tip-Adapter, Zhang et al. 2022): a picture adds the captions of the pictures
like it, a caption the pictures of the captions like it. No paper's system: ours, for a laptop.

Lower stages and layers beside the last: the last knows ImageNet's classes and sentences' gist, the lower ones lines,
colours, the words themselves and how they sound, which tell one drawing from another.
"""

from __future__ import annotations

from collections.abc import Mapping

from sensorium.encoders.audio import WhisperEncoder, WhisperStatistics
from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.encoders.encoder import Encoder
from sensorium.encoders.text import SentenceEncoder
from sensorium.encoders.video import FrameChanges
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.projectors.canonical import CanonicalHead, Recall

STAGES = (6, 7, 8, 9)
LAYERS = (0, 3, 6)
SCALE = 20.0  # the logit scale: a temperature of 0.05, which the recipe keeps (learned, it over-fits)

# (share, sharpness) of what is recalled, chosen on validation artists, things and stamps, never on the tests.
RECALL = {"image": (0.3, 30.0), "text": (0.4, 30.0), "audio": (0.5, 30.0)}
DROPOUT = {"audio": 0.7}  # of a head's coordinates: spoken sentences are few. Chosen likewise


def image_text_audio(
    rank: int = 600,
    size: int = 224,
    remembered: Mapping[str, int] | None = None,
    video: bool = False,
    statistics: bool = False,
) -> JointEmbedding:
    """The system with pretrained encoders and untrained heads, in evaluation mode.

    rank: D, the width of the space; size: side of the pictures in pixels
    remembered: by column, how many training examples its head has room for; None: heads that recall nothing
    video: with a column for clips: what their frames show on average, and how the last differs from the first. Without
           it a clip is searched for as the mean of its frames
    statistics: hear how all of Whisper's states are and scatter, as the recipes do; without it, checkpoints from
           before there was this: the mean of its last
    """
    encoders: dict[str, Encoder] = {
        "image": EfficientNetLite.pretrained(size=size, stages=STAGES),
        "text": SentenceEncoder.pretrained(layers=LAYERS),
        "audio": (WhisperStatistics if statistics else WhisperEncoder).pretrained(),
    }
    if video:
        encoders["video"] = FrameChanges(EfficientNetLite.pretrained(size=size, stages=STAGES))
    for encoder in encoders.values():
        encoder.freeze()
    recalls = {column: Recall(count, rank, *RECALL[column]) for column, count in (remembered or {}).items()}
    heads = {
        column: CanonicalHead(encoder.width, rank, recalls.get(column), DROPOUT.get(column, 0.0))
        for column, encoder in encoders.items()
    }
    return JointEmbedding(encoders, heads, scale=SCALE).eval()
