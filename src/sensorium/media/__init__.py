"""Untrusted bytes -> decoded media: the only room that opens files people bring.

path | bytes -> Source -> Media (text str, image uint8[H, W, 3], Audio, Video, state float32[D])
"""

from sensorium.media.limits import LIMITS, Limits
from sensorium.media.source import Source, content_key, modality_of
from sensorium.media.types import MODALITIES, Audio, Image, Media, MediaError, State, Text, Video, bytes_held

__all__ = [
    "LIMITS",
    "MODALITIES",
    "Audio",
    "Image",
    "Limits",
    "Media",
    "MediaError",
    "Source",
    "State",
    "Text",
    "Video",
    "bytes_held",
    "content_key",
    "modality_of",
]
