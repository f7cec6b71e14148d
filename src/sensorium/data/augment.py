"""Batches of pictures, seen anew: cropped, mirrored, in other light, in grey, out of focus.

uint8[B, 3, H, W] -> uint8[B, 3, side, side], each picture with draws of its own (kornia)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sensorium.data.sample import Batch, Column


@dataclass(frozen=True)
class BatchAugmentation:
    """uint8[B, 3, H, W] -> uint8[B, 3, side, side], for prepared pictures of one size.

    side:   of what leaves, in pixels
    crop:   least and largest share of the picture's area that is cut out, at an aspect of 3/4 … 4/3, and resized
    mirror: share of the pictures that is mirrored, left to right
    jitter: strength s of the colour jitter: brightness, contrast and saturation by up to 0.8 s, hue by up to 0.2 s,
            in 4 of 5 pictures (Chen et al. 2020, appendix A); 0: none
    grey:   share without colour
    blur:   share blurred, by a Gaussian of 0.1 … 2 pixels whose window is a tenth of the side (appendix A)

    Draws from torch's global random state, which the training loop seeds for every batch: a resumed run sees what the
    uninterrupted one would.
    """

    side: int
    crop: tuple[float, float] = (0.2, 1.0)
    mirror: float = 0.5
    jitter: float = 0.0
    grey: float = 0.0
    blur: float = 0.0

    def __call__(self, pixels: Tensor) -> Tensor:
        if pixels.dtype != torch.uint8 or pixels.dim() != 4 or pixels.shape[1] != 3:
            raise ValueError(f"got {pixels.dtype}{list(pixels.shape)}; expected uint8[B, 3, H, W]")
        with torch.no_grad():
            seen: Tensor = self._steps(pixels.float() / 255)
        return (seen * 255).round_().clamp_(0, 255).to(torch.uint8)

    @cached_property
    def _steps(self) -> Any:
        try:
            import kornia.augmentation as kornia  # a second to import: only where pictures are augmented
        except ModuleNotFoundError as error:
            raise ValueError(
                "augmenting batches needs kornia; type: pip install 'sensorium[augmentation]'"
            ) from error

        steps: list[Any] = [kornia.RandomResizedCrop((self.side, self.side), scale=self.crop)]
        if self.mirror:
            steps.append(kornia.RandomHorizontalFlip(p=self.mirror))
        if self.jitter:
            light, hue = 0.8 * self.jitter, 0.2 * self.jitter
            steps.append(kornia.ColorJitter(light, light, light, hue, p=0.8))
        if self.grey:
            steps.append(kornia.RandomGrayscale(p=self.grey))
        if self.blur:
            window = max(3, self.side // 10 // 2 * 2 + 1)
            steps.append(kornia.RandomGaussianBlur((window, window), (0.1, 2.0), p=self.blur))
        return torch.nn.Sequential(*steps)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_steps"}


def crops(side: int, smallest: float = 0.2) -> BatchAugmentation:
    """Crops and mirroring alone: what MAE was trained with (He et al. 2021, appendix A.1)."""
    return BatchAugmentation(side, (smallest, 1.0))


def simclr(side: int, strength: float = 1.0, smallest: float = 0.08) -> BatchAugmentation:
    """SimCLR's views (Chen et al. 2020, appendix A): crop, mirror, colour jitter, grey, blur."""
    return BatchAugmentation(side, (smallest, 1.0), jitter=strength, grey=0.2, blur=0.5)


@dataclass(frozen=True)
class Pictures:
    """N prepared pictures in memory, for recipes that see them many times. pixels: uint8[N, 3, H, W]."""

    ids: Sequence[str]
    pixels: Tensor
    fields: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(self.ids)

    def some(self, most: int) -> Pictures:
        """At most so many of them, evenly spread."""
        if len(self) <= most:
            return self
        rows = [row * len(self) // most for row in range(most)]
        fields = {name: [values[row] for row in rows] for name, values in self.fields.items()}
        return Pictures([self.ids[row] for row in rows], self.pixels[torch.tensor(rows)], fields)


@dataclass(frozen=True)
class AugmentedPictures:
    """Places in `pictures` -> Batch, for `Run(data=range(len(pictures)), collate=…)`.

    columns: each gets its own augmentation of the same pictures; None takes them as they are. Two columns are two
             views of one picture
    """

    pictures: Pictures
    columns: Mapping[str, BatchAugmentation | None]

    def __call__(self, rows: Sequence[int]) -> Batch:
        places = torch.as_tensor([int(row) for row in rows])
        pixels = self.pictures.pixels[places]
        present = torch.ones(len(places), dtype=torch.bool)
        columns = {
            name: Column("image", {"pixels": pixels if augment is None else augment(pixels)}, present)
            for name, augment in self.columns.items()
        }
        fields = {name: [values[row] for row in rows] for name, values in self.pictures.fields.items()}
        meanings = torch.full((len(places), 1), -1, dtype=torch.int64)  # nothing is known to mean the same
        return Batch(tuple(self.pictures.ids[row] for row in rows), columns, meanings, fields)

    def plain(self) -> AugmentedPictures:
        """The same pictures as they are, in the first column."""
        return replace(self, columns={next(iter(self.columns)): None})
