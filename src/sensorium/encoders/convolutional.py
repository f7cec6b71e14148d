"""Pictures -> Features by the classical convolutional nets, VGG and ResNet, from random weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.encoders.efficientnet_lite import Ground, letterbox
from sensorium.encoders.encoder import Encoder
from sensorium.features import Features

Norm = Literal["batch", "group", "none"]
NORMS: tuple[str, ...] = ("batch", "group", "none")
GROUPS = 8  # of "group" norms (Wu & He 2018, arXiv:1803.08494); every width here is a multiple

# Convolutions in each of the five stages (Simonyan & Zisserman 2014, arXiv:1409.1556, table 1: columns A, B, D, E);
# 6 is ours, for pictures of 64 pixels on a CPU. Published names count three fully connected layers too.
VGG_STAGES = {
    6: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
VGG_CHANNELS = (64, 128, 256, 512, 512)

# Blocks of two convolutions in each of the four stages (He et al. 2015, arXiv:1512.03385, table 1); 10 is ours.
RESNET_STAGES = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
RESNET_CHANNELS = (64, 128, 256, 512)


class ConvolutionalEncoder(Encoder):
    """What VGG and ResNet share: the square picture, and the last map as tokens.

        uint8[H, W, 3] ─► letterbox S×S, to -1..1 ─► stem, stages ─► map
                                   map ─► tokens float[B, (S/32)², D] ─► mean = pooled float[B, D]

    With ResNet's small stem the map is (S/16)². Its mean stands for the published fully connected layers, as in
    ResNet itself: it takes pictures of any size and has no weights to overfit with.
    """

    modality = "image"

    def __init__(self, size: int, ground: Ground) -> None:
        super().__init__()
        if size < 32:
            raise ValueError(f"size: expected at least 32 pixels, got {size}")
        self.size = size
        self.ground: Ground = (ground[0], ground[1], ground[2])  # a list, when a checkpoint's JSON names it
        self.preparation = f"letterbox to {size}x{size}, ground {self.ground}, bicubic, RGB to -1..1"
        self.stem: nn.Module
        self.stages: nn.ModuleList

    def prepare(self, media: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """uint8[H, W, 3] pictures -> {"pixels": uint8[B, 3, S, S]}."""
        squares = np.stack([letterbox(picture, self.size, self.ground) for picture in media])
        return {"pixels": torch.from_numpy(squares).permute(0, 3, 1, 2).contiguous()}

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """{"pixels": [B, 3, S, S] in 0..255, any dtype} -> Features."""
        x = (inputs["pixels"].float() / 127.5 - 1).to(next(self.parameters()).dtype)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        for stage in self.stages:
            x = stage(x)
        tokens = x.flatten(2).transpose(1, 2)  # [B, h·w, D]
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Features(tokens, mask, tokens.mean(1, dtype=torch.float32))


class VggEncoder(ConvolutionalEncoder):
    """Stages of 3×3 convolutions, each followed by a 2×2 maximum (Simonyan & Zisserman 2014, section 2.1).

    size:   side S in pixels
    depth:  6, 11, 13, 16 or 19, see `VGG_STAGES`
    factor: of every stage's channels; 1 is as published, and width = 512 · factor
    norm:   behind every convolution; the paper has none ("none"), and is slow to learn without
    ground: RGB laid beside the picture to make it square
    """

    def __init__(
        self,
        size: int = 64,
        depth: int = 6,
        factor: float = 0.5,
        norm: Norm = "batch",
        ground: Ground = (255, 255, 255),
    ) -> None:
        super().__init__(size, ground)
        channels = scaled(VGG_CHANNELS, factor)
        self.stem = nn.Identity()
        self.stages = nn.ModuleList()
        before = 3
        for now, repeats in zip(channels, known("depth", depth, VGG_STAGES), strict=True):
            stage = nn.Sequential()
            for _ in range(repeats):
                stage.extend(convolution(before, now, norm))
                before = now
            stage.append(nn.MaxPool2d(2))
            self.stages.append(stage)
        self.width = channels[-1]
        self.config = {"depth": depth, "factor": factor, "norm": norm}


class ResNetEncoder(ConvolutionalEncoder):
    """Blocks of two 3×3 convolutions beside a short cut (He et al. 2015, section 3.3, figure 5 left).

    size:   side S in pixels
    depth:  10, 18 or 34, see `RESNET_STAGES`
    factor: of every stage's channels; 1 is as published, and width = 512 · factor
    stem:   "published" (7×7 / 2, then a 3×3 maximum / 2) for pictures of 200 pixels or so; "small" (3×3 / 2) keeps
            twice the grid
    norm:   behind every convolution
    ground: RGB laid beside the picture to make it square
    """

    def __init__(
        self,
        size: int = 64,
        depth: int = 10,
        factor: float = 0.5,
        stem: Literal["small", "published"] = "small",
        norm: Norm = "batch",
        ground: Ground = (255, 255, 255),
    ) -> None:
        super().__init__(size, ground)
        channels = scaled(RESNET_CHANNELS, factor)
        blocks = known("depth", depth, RESNET_STAGES)
        if stem not in ("small", "published"):
            raise ValueError(f"stem: got {stem!r}; expected 'small' or 'published'")
        self.stem = nn.Sequential(
            *convolution(3, channels[0], norm, 7 if stem == "published" else 3, stride=2)
        )
        if stem == "published":
            self.stem.append(nn.MaxPool2d(3, 2, padding=1))
        self.stages = nn.ModuleList()
        before = channels[0]
        for place, (now, repeats) in enumerate(zip(channels, blocks, strict=True)):
            stage = nn.Sequential()
            for repeat in range(repeats):
                stage.append(Residual(before, now, norm, stride=2 if place and not repeat else 1))
                before = now
            self.stages.append(stage)
        self.width = channels[-1]
        self.config = {"depth": depth, "factor": factor, "stem": stem, "norm": norm}


class Residual(nn.Module):
    """x -> ReLU(F(x) + x); where the width or the grid changes, the short cut is a 1×1 convolution (option B)."""

    def __init__(self, before: int, now: int, norm: str, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *convolution(before, now, norm, stride=stride), *convolution(now, now, norm, active=False)
        )
        self.short_cut = (
            nn.Identity()
            if stride == 1 and before == now
            else nn.Sequential(*convolution(before, now, norm, 1, stride, active=False))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layers(x) + self.short_cut(x))


def convolution(
    before: int, now: int, norm: str, kernel: int = 3, stride: int = 1, active: bool = True
) -> list[nn.Module]:
    """A convolution that keeps the grid (divided by `stride`), its norm and its ReLU, started as He et al. say.

    The convolution has a bias only where no norm follows it (arXiv:1502.01852, equation 10, for the start).
    """
    if norm not in NORMS:
        raise ValueError(f"norm: got {norm!r}; expected one of {', '.join(NORMS)}")
    conv = nn.Conv2d(before, now, kernel, stride, kernel // 2, bias=norm == "none")
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    layers: list[nn.Module] = [conv]
    if norm == "batch":
        layers.append(nn.BatchNorm2d(now))
    elif norm == "group":
        layers.append(nn.GroupNorm(GROUPS, now))
    return [*layers, nn.ReLU(inplace=True)] if active else layers


def scaled(channels: Sequence[int], factor: float) -> list[int]:
    """Channels · factor, to multiples of `GROUPS`."""
    if not factor > 0:
        raise ValueError(f"factor: got {factor}; expected a number above 0")
    return [max(GROUPS, round(channel * factor / GROUPS) * GROUPS) for channel in channels]


def known(what: str, got: int, table: Mapping[int, tuple[int, ...]]) -> tuple[int, ...]:
    """A table's entry. Raises ValueError that lists its keys."""
    if got not in table:
        raise ValueError(f"{what}: got {got}; expected one of {', '.join(map(str, table))}")
    return table[got]
