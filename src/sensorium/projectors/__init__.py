"""Features -> Features of another width or length."""

from sensorium.projectors.linear import LinearHead
from sensorium.projectors.mlp import MlpHead

__all__ = ["LinearHead", "MlpHead"]
