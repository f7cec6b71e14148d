"""Untrusted bytes -> decoded media: the only room that opens files people bring.

path | bytes -> Source -> Media (text str, image uint8[H, W, 3], Audio, Video, state float32[D])
"""

from sensorium.media.types import MODALITIES, Audio, Image, Media, MediaError, State, Text, Video

__all__ = ["MODALITIES", "Audio", "Image", "Media", "MediaError", "State", "Text", "Video"]
