"""Several encoders, one fusion, one head a task: a classifier of anything that comes in several modalities.

    image  uint8[H, W, 3] ──► EfficientNet-Lite0 ──► ColumnProjector ──┐
    text   str ─────────────► MiniLM ──────────────► ColumnProjector ──┼──► fusion (any kind) ──► head a task
    audio  float32[T] ──────► Whisper tiny.en ─────► ColumnProjector ──┘
    (any columns, each with the encoder that is asked for; any row may lack any of them)

No paper's system: the frame in which the fusions of many papers (`sensorium.fusion`) can be told apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.encoders.audio import WhisperEncoder
from sensorium.encoders.convolutional import ResNetEncoder, VggEncoder
from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.encoders.encoder import Encoder
from sensorium.encoders.log_mel import MelCnnEncoder
from sensorium.encoders.lstm import LstmEncoder
from sensorium.encoders.recurrent_video import GruVideoEncoder
from sensorium.encoders.text import SentenceEncoder
from sensorium.encoders.video import FrameChanges, FrameEncoder
from sensorium.fusion import fusion_of
from sensorium.models.fusion_network import FusionNetwork
from sensorium.projectors.column import ColumnProjector
from sensorium.projectors.positions import GridPositions, TimePositions
from sensorium.projectors.projector import Chain, Projector
from sensorium.projectors.reduction import Reduction
from sensorium.tasks import Task, task_from


def frames(**options: Any) -> Encoder:
    """A clip's frames, each seen by EfficientNet-Lite0."""
    return FrameEncoder(EfficientNetLite.pretrained(**options))


def frame_changes(size: int = 160, stages: Sequence[int] = (5, 9), **options: Any) -> Encoder:
    """A clip's frames and what changes between them; a lower stage, which still knows edges, beside the last."""
    return FrameChanges(EfficientNetLite.pretrained(size=size, stages=tuple(stages), **options))


def frames_in_order(image: str = "resnet", width: int = 256, **options: Any) -> Encoder:
    """A clip's frames, each seen by the encoder of that name (`options` are its own), read in order by a GRU."""
    return GruVideoEncoder(_tower("the frames", {"kind": image, **options}), width)


# Written out, so that a name is found by reading: name -> what makes it. Pretrained ones are frozen.
ENCODERS: dict[str, Callable[..., Encoder]] = {
    "efficientnet_lite0": EfficientNetLite.pretrained,
    "minilm": SentenceEncoder.pretrained,
    "whisper_tiny": WhisperEncoder.pretrained,
    "frames": frames,
    "frame_changes": frame_changes,
    "lstm": LstmEncoder,
    "vgg": VggEncoder,
    "resnet": ResNetEncoder,
    "mel_cnn": MelCnnEncoder,
    "gru_video": frames_in_order,
}
PRETRAINED = ("efficientnet_lite0", "minilm", "whisper_tiny", "frames", "frame_changes")
USUAL = {"image": "efficientnet_lite0", "text": "minilm", "audio": "whisper_tiny", "video": "frame_changes"}
FRAMES = 32  # of a clip that are told apart by their place


def fusion_network(
    encoders: Mapping[str, str | Mapping[str, Any]],
    tasks: Sequence[Task | Mapping[str, Any]],
    fusion: str = "concatenation",
    width: int = 256,
    dropout: float = 0.1,
    drop: float = 0.0,
    stand_ins: bool = False,
    uncertainty: bool = False,
    options: Mapping[str, Any] | None = None,
    reduce: Mapping[str, Mapping[str, Any]] | None = None,
    positions: bool = False,
) -> FusionNetwork:
    """The network, its pretrained encoders frozen, all else random.

    encoders:  by column, a name of `ENCODERS`, or {"kind": name, …} with its options
    tasks:     `Task`s, or what their `as_json` gave
    fusion:    a kind of `sensorium.fusion`, and `options` of it
    width:     of the columns where they are joined
    dropout:   behind each projector
    drop, stand_ins, uncertainty: see `FusionNetwork`
    reduce:    by column, {"width": D} of a `Reduction` (PCA, LDA or MDS) between encoder and projector; the network
               computes once it is fitted or loaded from a checkpoint
    positions: learned vectors say where in a picture and when in a clip a token stands, which such encoders leave
               open and a fusion that reads tokens needs to answer "where"; encoders of text and sound say it themselves

    Raises ValueError for a name that is none.
    """
    towers = {column: _tower(column, spec) for column, spec in encoders.items()}
    if unknown := sorted(set(reduce or {}) - set(towers)):
        raise ValueError(f"reduce {unknown}: expected some of the columns {', '.join(towers)}")
    projectors: dict[str, Projector] = {}
    for column, tower in towers.items():
        if column in (reduce or {}):
            reduction = Reduction(tower.width, **reduce[column])  # type: ignore[index]
            projectors[column] = Chain(reduction, ColumnProjector(reduction.width, width, dropout))
        else:
            projectors[column] = ColumnProjector(tower.width, width, dropout)
        if positions and (places := _positions(tower, width)):
            projectors[column] = Chain(projectors[column], places)
    joined = fusion_of(fusion, tuple(towers), width, **(options or {}))
    return FusionNetwork(
        towers,
        projectors,
        joined,
        [task_from(task) for task in tasks],
        drop=drop,
        stand_ins=stand_ins,
        uncertainty=uncertainty,
    )


def _positions(tower: Encoder, width: int) -> Projector | None:
    """What tells the tokens of pictures and clips where they stand; None for all else."""
    if tower.modality == "video":
        return TimePositions(width, FRAMES)
    if tower.modality != "image":
        return None
    tokens = tower.token_count(np.zeros((32, 32, 3), np.uint8))
    side = math.isqrt(tokens)
    return GridPositions(width, side) if 1 < side**2 == tokens else None


def _tower(column: str, spec: str | Mapping[str, Any]) -> Encoder:
    options = {"kind": spec} if isinstance(spec, str) else dict(spec)
    kind = options.pop("kind", None)
    if kind not in ENCODERS:
        raise ValueError(f"encoder of column {column!r}: got {kind!r}; expected one of {', '.join(ENCODERS)}")
    tower = ENCODERS[kind](**options)
    return tower.freeze() if kind in PRETRAINED else tower
