"""SimCLR (Chen et al. 2020, arXiv:2002.05709): two views of a picture belong together, all others do not.

    picture ──┬── crop, mirror, colour, grey, blur ──► first view  ──┐                    h                   z
              │   (data.augment.simclr, drawn twice)                 ├──► ResNet or ViT ──► linear ─ ReLU ─ linear
              └── the same, drawn anew ─────────────► second view ──┘    (kept)            (dropped afterwards)

Trained with `objectives.NTXent` on z. Afterwards `simclr(…).encoder` is used, whose h told more than z (section 4.2).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from sensorium.encoders.image import ImagePreparation, TransformersImageEncoder
from sensorium.models.view_contrast import ViewContrast
from sensorium.systems import two_towers, vit

WIDTH = 128  # of z (section 2.1)
VIEWS = ("first view", "second view")

# ResNet-50 is the paper's; the ViTs are those of `systems.vit`; "tiny" is ours, to learn in minutes on a CPU.
RESNETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "pixels": 64,
        "embedding_size": 32,
        "hidden_sizes": [32, 64, 128, 256],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
    },
    "ResNet-50": {"pixels": 224},  # the default of ResNetConfig
}
SIZES = (*RESNETS, *(name for name in vit.SIZES if name not in RESNETS))


def simclr(size: str = "ResNet-50", width: int = WIDTH) -> ViewContrast:
    """An encoder of random weights and its projection head.

    size:  one of `SIZES`
    width: of the vectors that are compared
    """
    encoder = _encoder(size)
    W = encoder.width
    head = nn.Sequential(nn.Linear(W, W), nn.BatchNorm1d(W), nn.ReLU(), nn.Linear(W, width))
    return ViewContrast(encoder, head, VIEWS)


def _encoder(size: str) -> TransformersImageEncoder:
    from transformers import ResNetConfig, ViTConfig

    if size in RESNETS:
        options = dict(RESNETS[size])
        pixels = options.pop("pixels")
        return TransformersImageEncoder.from_config(ResNetConfig(**options), ImagePreparation.square(pixels))
    found = two_towers.size_of({name: vit.SIZES.get(name) for name in SIZES}, size)
    config = ViTConfig(
        image_size=found.pixels,
        patch_size=found.patch,
        hidden_size=found.width,
        intermediate_size=vit.MLP * found.width,
        num_hidden_layers=found.layers,
        num_attention_heads=found.width // vit.HEAD,
        layer_norm_eps=1e-6,
    )
    return TransformersImageEncoder.from_config(config)
