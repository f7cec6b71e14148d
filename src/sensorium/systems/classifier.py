"""One encoder and a linear head a task: what a pretrained encoder is started from with.

    media ──► encoder, with adapters or LoRA in it if asked for ──► Standardized ──► linear, one a task ──► logits

A `FusionNetwork` of one column: what trains, predicts, scores and serves those does so here. What of it learns is the
run's to say (`freeze`, `part_lr`, `thaw`); with adapters (Houlsby et al. 2019) or LoRA (Hu et al. 2022) the encoder's
own weights are frozen here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sensorium.backbones import lora as low_rank
from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.encoders.encoder import Encoder
from sensorium.encoders.text import SentenceEncoder
from sensorium.layers.adapter import adapt
from sensorium.models.fusion_network import FusionNetwork
from sensorium.projectors.standardized import Standardized
from sensorium.systems.fusion_network import ENCODERS
from sensorium.systems.vit import OneColumn
from sensorium.tasks import Task, task_from

# The linear layers that LoRA is added to, by the ends of their names: all of MiniLM's blocks; EfficientNet's pointwise
# convolutions (a depthwise one is smaller than a factorisation of it).
LORA_TARGETS = {
    "minilm": ("query", "key", "value", "dense"),
    "efficientnet_lite0": ("expand.conv", "project.conv"),
}


def untrained_minilm(**options: Any) -> Encoder:
    """MiniLM's tokenizer, shape and pooling with random weights."""
    known = SentenceEncoder.pretrained(**options)
    fresh: Any = SentenceEncoder.from_config(known.model.config, known.tokenizer, known.limit)
    return SentenceEncoder(
        fresh.model, known.tokenizer, known.limit, known.pooling, known.normalize, known.layers
    )


UNTRAINED: dict[str, Callable[..., Encoder]] = {
    "minilm": untrained_minilm,
    "efficientnet_lite0": EfficientNetLite,
}


def classifier(
    encoder: str | Mapping[str, Any] = "efficientnet_lite0",
    tasks: Sequence[Task | Mapping[str, Any]] = (),
    column: str = "image",
    untrained: bool = False,
    adapters: int = 0,
    lora: int = 0,
) -> FusionNetwork:
    """The network, its encoder pretrained and trainable, its heads random.

    encoder:   a name of `fusion_network.ENCODERS`, or {"kind": name, …} with its options
    untrained: the same encoder with random weights, to see what pretraining is worth
    adapters:  width of the adapters behind every sublayer or stage, 0: none
    lora:      rank of LoRA, 0: none

    Raises ValueError for a name that is none, and for an encoder without a random counterpart or LoRA's targets.
    """
    options = {"kind": encoder} if isinstance(encoder, str) else dict(encoder)
    kind = options.pop("kind", None)
    makers = UNTRAINED if untrained else ENCODERS
    if kind not in makers:
        raise ValueError(f"encoder: got {kind!r}; expected one of {', '.join(makers)}")
    if adapters and lora:
        raise ValueError(f"adapters={adapters} and lora={lora}: expected one of them, the other 0")
    if lora and kind not in LORA_TARGETS:
        raise ValueError(f"lora: got the encoder {kind!r}; expected one of {', '.join(LORA_TARGETS)}")
    tower = makers[kind](**options)
    if adapters:
        adapt(tower, adapters)
    if lora:
        low_rank.add(tower, rank=lora, alpha=2.0 * lora, targets=LORA_TARGETS[kind])
    return FusionNetwork(
        {column: tower},
        {column: Standardized(tower.width)},
        OneColumn([column], tower.width),
        [task_from(task) for task in tasks],
    )
