"""Features -> Features of another width or length."""

from sensorium.projectors.linear import LinearHead
from sensorium.projectors.mlp import MlpHead
from sensorium.projectors.signed_power import SignedPower, signed_power

__all__ = ["LinearHead", "MlpHead", "SignedPower", "signed_power"]
