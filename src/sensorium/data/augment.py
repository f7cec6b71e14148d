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
from torch.nn import functional as F

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
            seen = self._cut(pixels)
            if self._colours is None:
                return seen
            made: Tensor = self._colours(seen.float() / 255)
            return made.mul_(255).round_().clamp_(0, 255).to(torch.uint8)

    def _cut(self, pixels: Tensor) -> Tensor:
        """Each picture's own window, resized, and mirrored where that was drawn.

        Kornia draws; what it draws is done in uint8, which takes half of its time and rounds as the result would be.
        """
        crop, flip = self._places
        corners = crop.forward_parameters(pixels.shape)[
            "src"
        ].int()  # [B, 4, 2], (x, y), clockwise from the upper left
        cut = pixels.new_empty(*pixels.shape[:2], self.side, self.side)
        mirrored = [False] * len(pixels)
        if flip is not None:
            mirrored = (flip.forward_parameters(cut.shape)["batch_prob"] > 0.5).tolist()
        windows = zip(corners[:, 0].tolist(), corners[:, 2].tolist(), strict=True)
        for row, ((left, top), (right, bottom)) in enumerate(windows):
            window = pixels[row : row + 1, :, top : bottom + 1, left : right + 1]
            seen = F.interpolate(window, (self.side, self.side), mode="bilinear", align_corners=True)
            cut[row] = seen[0].flip(-1) if mirrored[row] else seen[0]
        return cut

    @cached_property
    def _places(self) -> tuple[Any, Any]:
        """What draws the windows, and what draws which are mirrored (None: none)."""
        kornia = _kornia()
        crop = kornia.RandomResizedCrop((self.side, self.side), scale=self.crop)
        return crop, kornia.RandomHorizontalFlip(p=self.mirror) if self.mirror else None

    @cached_property
    def _colours(self) -> Any:
        """float[B, 3, side, side] in 0..1 -> the same; None where nothing is asked."""
        kornia = _kornia()
        steps: list[Any] = []
        if self.jitter:
            from sensorium.data.colour_jitter import ColourJitter

            light, hue = 0.8 * self.jitter, 0.2 * self.jitter
            steps.append(ColourJitter(light, light, light, hue, p=0.8))
        if self.grey:
            steps.append(kornia.RandomGrayscale(p=self.grey))
        if self.blur:
            window = max(3, self.side // 10 // 2 * 2 + 1)
            steps.append(kornia.RandomGaussianBlur((window, window), (0.1, 2.0), p=self.blur))
        return torch.nn.Sequential(*steps) if steps else None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_places", "_colours")}


def _kornia() -> Any:
    try:
        import kornia.augmentation as kornia  # a second to import: only where pictures are augmented
    except ModuleNotFoundError as error:
        raise ValueError(
            "augmenting batches needs kornia; type: pip install 'sensorium[augmentation]'"
        ) from error
    return kornia


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
