"""ViT (Dosovitskiy et al. 2020, arXiv:2010.11929): a picture is a sentence of patches, and its class is learned.

    image uint8[H, W, 3] ──► patches, linear ──► class token in front ──► + positions ──► blocks ──► norm
                             (TransformersImageEncoder around `ViTModel`)                             │ class token
    logits float[B, C] ◄── linear, one a task ◄── OneColumn ◄─────────────────────────────────────────┘

Trained with `objectives.Supervised`. A `FusionNetwork` of one column: what predicts, scores and serves those does so
here. `from_transformers` takes a `ViTForImageClassification`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sensorium.encoders.image import ImagePreparation, Pooling, TransformersImageEncoder
from sensorium.features import Features
from sensorium.fusion.fusion import Fused, Fusion
from sensorium.models.fusion_network import FusionNetwork
from sensorium.systems import two_towers
from sensorium.tasks import OneOf, Task, task_from

HEAD = 64  # channels of every attention head, in all sizes of table 1
MLP = 4  # hidden width of every block, in widths of the block
TASK = "class"  # the name of a published classifier's one task
HALVES = (0.5, 0.5, 0.5)  # mean and spread of values in 0..1, so that they go to -1..1


@dataclass(frozen=True)
class Size:
    """pixels: side of the picture; patch: of a patch; width, layers: of the transformer."""

    pixels: int
    patch: int
    width: int
    layers: int


# Dosovitskiy et al. 2020, table 1; "tiny" is ours, the encoder of MAE's "tiny", to learn in minutes on a CPU.
SIZES = {
    "tiny": Size(64, 8, 192, 4),
    "ViT-B/32": Size(224, 32, 768, 12),
    "ViT-B/16": Size(224, 16, 768, 12),
    "ViT-L/16": Size(224, 16, 1024, 24),
    "ViT-H/14": Size(224, 14, 1280, 32),
}


class OneColumn(Fusion):
    """Features of the one column there is -> themselves: a network of one encoder needs nothing joined."""

    def __init__(self, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        if len(self.columns) != 1:
            raise ValueError(f"columns: got {list(columns)}; expected one")

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        [column] = self.columns
        return Fused({"fused": features[column]}, {"fused": present[column]})


def vit(
    size: str = "ViT-B/16",
    tasks: Sequence[Task | Mapping[str, Any]] = (),
    pooling: Pooling = "first",
    mean: Sequence[float] = HALVES,
    std: Sequence[float] = HALVES,
    *,
    column: str = "image",
) -> FusionNetwork:
    """A ViT of random weights with a linear head a task.

    size:      one of `SIZES`
    tasks:     `Task`s, or what their `as_json` gave
    pooling:   what the heads read: the class token ("first", the paper's), or the "mean" of all tokens
    mean, std: of the pixels in 0..1, by which they are normed
    """
    from transformers import ViTConfig

    found: Size = two_towers.size_of(SIZES, size)
    config = ViTConfig(
        image_size=found.pixels,
        patch_size=found.patch,
        hidden_size=found.width,
        intermediate_size=MLP * found.width,
        num_hidden_layers=found.layers,
        num_attention_heads=found.width // HEAD,
        layer_norm_eps=1e-6,
    )
    preparation = ImagePreparation((found.pixels, found.pixels), None, tuple(mean), tuple(std))
    return _assemble(config, [task_from(task) for task in tasks], pooling, preparation, column)


def from_transformers(
    model: Any, preparation: ImagePreparation | None = None, column: str = "image"
) -> FusionNetwork:
    """A `transformers.ViTForImageClassification` as our composition, its weights copied; in evaluation mode.

    Its one task is called "class" and has the labels of `model.config.id2label`.
    """
    labels = [str(model.config.id2label[place]) for place in range(model.config.num_labels)]
    side = model.config.image_size
    preparation = preparation or ImagePreparation((side, side), None)
    system = _assemble(model.config, [OneOf(TASK, labels)], "first", preparation, column)
    system.load_state_dict(two_towers.rename(model.state_dict(), keys(column)))
    return system.eval()


def to_transformers(system: FusionNetwork) -> Any:
    """The `transformers.ViTForImageClassification` of the same weights: `save_pretrained` it for other tools.

    Raises ValueError for a network that is not a ViT with one task of one label, read from the class token.
    """
    from transformers import ViTConfig, ViTForImageClassification

    task = system.tasks[0]
    if len(system.tasks) != 1 or not isinstance(task, OneOf):
        raise ValueError(
            f"tasks {[one.name for one in system.tasks]}: expected one, with one label of several"
        )
    [column] = system.columns
    encoder: Any = system.encoders[column]
    if encoder.pooling != "first":
        raise ValueError(
            f"pooling {encoder.pooling!r}: transformers' classifier reads the class token ('first')"
        )
    labels = dict(enumerate(task.labels))
    config = {
        **encoder.model.config.to_dict(),
        "id2label": labels,
        "label2id": {n: i for i, n in labels.items()},
    }
    model = ViTForImageClassification(ViTConfig(**config))
    names = two_towers.reverse(keys(column, task.name))
    model.load_state_dict(two_towers.rename(system.state_dict(), names))
    return model.eval()


def keys(column: str, task: str = TASK) -> dict[str, str]:
    """Prefixes of the weights' names: ViTForImageClassification's -> ours."""
    return {"vit.": f"encoders.{column}.model.", "classifier.": f"heads.{task}.fused."}


def _assemble(
    config: Any, tasks: Sequence[Task], pooling: Pooling, preparation: ImagePreparation, column: str
) -> FusionNetwork:
    encoder = TransformersImageEncoder.from_config(config, preparation, pooling)
    return FusionNetwork({column: encoder}, {}, OneColumn([column], encoder.width), tasks)
