"""Pictures, words and speech in one space, from three light encoders that stay frozen.

    image  uint8[H, W, 3] ──► EfficientNet-Lite0, stages 6–9 pooled ──► CanonicalHead ──┐
    text   str ─────────────► MiniLM, layers 0, 3, 6 pooled ──────────► CanonicalHead ──┼──► / |·| ──► float[P, D]
    audio  float32[T] ──────► Whisper tiny.en encoder, pooled ────────► CanonicalHead ──┘

Locked towers (LiT, Zhai et al. 2022) bound to pictures and words (ImageBind, Girdhar et al. 2023), the heads started
from the closed form (`objectives/canonical_correlation.py`) and trained on by InfoNCE. No paper's system:
ours, for a laptop.

Lower stages and layers beside the last: the last knows ImageNet's classes and sentences' gist, the lower ones lines,
colours and the words themselves, which tell one drawing from another.
"""

from __future__ import annotations

from sensorium.encoders.audio import WhisperEncoder
from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.encoders.text import SentenceEncoder
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.projectors.canonical import CanonicalHead

STAGES = (6, 7, 8, 9)
LAYERS = (0, 3, 6)
SCALE = 20.0  # the logit scale: a temperature of 0.05, which the recipe keeps (learned, it over-fits)


def image_text_audio(rank: int = 600, size: int = 224) -> JointEmbedding:
    """The system with pretrained encoders and untrained heads.

    rank: D, the width of the space; size: side of the pictures in pixels
    """
    encoders = {
        "image": EfficientNetLite.pretrained(size=size, stages=STAGES),
        "text": SentenceEncoder.pretrained(layers=LAYERS),
        "audio": WhisperEncoder.pretrained(),
    }
    for encoder in encoders.values():
        encoder.freeze()
    heads = {column: CanonicalHead(encoder.width, rank) for column, encoder in encoders.items()}
    return JointEmbedding(encoders, heads, scale=SCALE)
