"""float[B, T, D] -> float[B, T, D]: equations that parts share."""

from sensorium.layers.attention import Attention, attend
from sensorium.layers.transformer import FeedForward, SquaredReLU

__all__ = ["Attention", "FeedForward", "SquaredReLU", "attend"]
