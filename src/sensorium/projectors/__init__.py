"""Features -> Features of another width, length or both."""

from sensorium.projectors.canonical import CanonicalHead
from sensorium.projectors.column import ColumnProjector
from sensorium.projectors.linear import LinearHead, LinearProjector
from sensorium.projectors.mlp import MlpHead, MlpProjector
from sensorium.projectors.pooling import DropFirst, FrameStacking, GridPooling, PixelShuffle, PlaceStacking
from sensorium.projectors.positions import GridPositions, TimePositions
from sensorium.projectors.prefix import PrefixProjector
from sensorium.projectors.projector import Chain, Projector
from sensorium.projectors.qformer import QFormer
from sensorium.projectors.reduction import Reduction
from sensorium.projectors.resampler import PerceiverResampler
from sensorium.projectors.standardized import Standardized

__all__ = [
    "CanonicalHead",
    "Chain",
    "ColumnProjector",
    "DropFirst",
    "FrameStacking",
    "GridPooling",
    "GridPositions",
    "LinearHead",
    "LinearProjector",
    "MlpHead",
    "MlpProjector",
    "PerceiverResampler",
    "PixelShuffle",
    "PlaceStacking",
    "PrefixProjector",
    "Projector",
    "QFormer",
    "Reduction",
    "Standardized",
    "TimePositions",
]
