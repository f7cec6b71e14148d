"""Features -> Features of another width."""

from sensorium.projectors.canonical import CanonicalHead
from sensorium.projectors.linear import LinearHead
from sensorium.projectors.mlp import MlpHead

__all__ = ["CanonicalHead", "LinearHead", "MlpHead"]
