"""Pictures seen anew: batches by `data.augment` (kornia's draws), against a loop over pictures with Pillow.

    python benchmarks/augmentation.py [--pixels 64] [--batch 128] [--rounds 7]

Two kinds of views: MAE's (a window, resized; mirrored), and SimCLR's, of which a step takes two a picture (window,
mirror, colour jitter, grey, blur). All sides get uint8[B, 3, h, w] in memory and give the same shape; the loop decodes
nothing either. Side by side: ours; the same steps by kornia alone; Pillow, picture by picture, as a data set's
`__getitem__` would. Before anything is timed, the views must be alike in kind: over 2,048 views, the means of
brightness, of its spread in a picture, of colourfulness and of the steps between neighbouring pixels may differ by
`ALIKE` of their value at most (Pillow's resizing softens, and its hue has 256 steps). The sides take turns in one
process; printed are medians of the ratios of the pairs.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor

ALIKE = 0.1
STRENGTH, SMALLEST = 0.5, {"mae": 0.5, "simclr": 0.2}  # as in the recipes
OURS, KORNIA, PILLOW = "ours", "kornia alone", "Pillow, a picture at a time"


def pictures(count: int, pixels: int) -> Tensor:
    """Drawings of the bundled emoji, uint8[N, 3, pixels, pixels]."""
    from sensorium.data import bundled
    from sensorium.encoders.image import ImagePreparation

    make = ImagePreparation.square(pixels)
    drawings = bundled.emoji("train", ["noto"])[:count]
    media = [sample.columns["image"].decode() for sample in drawings]  # type: ignore[union-attr]
    made = np.stack([make(media[row % len(media)]) for row in range(count)])
    return torch.from_numpy(made).permute(0, 3, 1, 2).contiguous()


def ours(kind: str, side: int) -> Callable[[Tensor], Tensor]:
    from sensorium.data.augment import crops, simclr

    return crops(side, SMALLEST[kind]) if kind == "mae" else simclr(side, STRENGTH, SMALLEST[kind])


def by_kornia(kind: str, side: int) -> Callable[[Tensor], Tensor]:
    import kornia.augmentation as kornia

    steps: list[Any] = [
        kornia.RandomResizedCrop((side, side), scale=(SMALLEST[kind], 1.0)),
        kornia.RandomHorizontalFlip(p=0.5),
    ]
    if kind == "simclr":
        light, hue, window = 0.8 * STRENGTH, 0.2 * STRENGTH, max(3, side // 10 // 2 * 2 + 1)
        steps += [
            kornia.ColorJitter(light, light, light, hue, p=0.8),
            kornia.RandomGrayscale(p=0.2),
            kornia.RandomGaussianBlur((window, window), (0.1, 2.0), p=0.5),
        ]
    whole = torch.nn.Sequential(*steps)

    def augment(batch: Tensor) -> Tensor:
        with torch.no_grad():
            return (whole(batch.float() / 255) * 255).round_().clamp_(0, 255).to(torch.uint8)

    return augment


def by_pillow(kind: str, side: int) -> Callable[[Tensor], Tensor]:
    def augment(batch: Tensor) -> Tensor:
        made = [
            np.asarray(view(Image.fromarray(picture), kind, side))
            for picture in batch.permute(0, 2, 3, 1).contiguous().numpy()
        ]
        return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).contiguous()

    return augment


def view(picture: Image.Image, kind: str, side: int) -> Image.Image:
    picture = window(picture, SMALLEST[kind], side)
    if random.random() < 0.5:
        picture = ImageOps.mirror(picture)
    if kind == "mae":
        return picture
    if random.random() < 0.8:
        light = 0.8 * STRENGTH
        steps: list[Callable[[Image.Image], Image.Image]] = [
            *(lambda p, by=by: by(p).enhance(random.uniform(1 - light, 1 + light)) for by in ENHANCE),
            lambda p: turned(p, random.uniform(-0.2 * STRENGTH, 0.2 * STRENGTH)),
        ]
        random.shuffle(steps)
        for step in steps:
            picture = step(picture)
    if random.random() < 0.2:
        picture = picture.convert("L").convert("RGB")
    if random.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))
    return picture


ENHANCE = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def window(picture: Image.Image, smallest: float, side: int) -> Image.Image:
    W, H = picture.size
    for _ in range(10):
        area = W * H * random.uniform(smallest, 1.0)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if w <= W and h <= H:
            left, top = random.randint(0, W - w), random.randint(0, H - h)
            return picture.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
    return picture.resize((side, side), Image.Resampling.BILINEAR)


def turned(picture: Image.Image, by: float) -> Image.Image:
    """Its hue turned by a share of a turn."""
    hue, saturation, value = picture.convert("HSV").split()
    shift = round(by * 255)
    hue = hue.point([(place + shift) % 256 for place in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def kind_of(views: Tensor) -> dict[str, float]:
    """What views are like, on average."""
    x = views.float()
    grey = x.mean(1)
    return {
        "brightness": float(grey.mean()),
        "spread": float(grey.flatten(1).std(1).mean()),
        "colour": float((x.amax(1) - x.amin(1)).mean()),
        "edges": float(grey.diff(dim=-1).abs().mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--checked", type=int, default=2048, help="views whose kind is compared")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    random.seed(0)
    batch = pictures(options.batch, options.pixels)
    print(
        f"{options.batch} pictures of {options.pixels} pixels, {options.threads} threads, {options.rounds} rounds"
    )
    for kind, times in (("mae", 1), ("simclr", 2)):
        sides = {
            OURS: ours(kind, options.pixels),
            KORNIA: by_kornia(kind, options.pixels),
            PILLOW: by_pillow(kind, options.pixels),
        }
        like = {
            name: kind_of(torch.cat([make(batch) for _ in range(-(-options.checked // options.batch))]))
            for name, make in sides.items()
        }
        print(f"\n{kind}: {times} {'view' if times == 1 else 'views'} a picture")
        print(f"{'':30}" + "".join(f"{name:>12}" for name in like[OURS]))
        for name, values in like.items():
            print(f"{name:30}" + "".join(f"{value:12.1f}" for value in values.values()))
        unlike = [
            f"{name}'s {what}"
            for name, values in like.items()
            for what, value in values.items()
            if abs(value - like[OURS][what]) > ALIKE * like[OURS][what]
        ]
        if unlike:
            sys.exit(f"the views are not alike: {', '.join(unlike)}")
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(options.rounds):
            for name, make in sides.items():
                started, worked = time.perf_counter(), time.process_time()
                for _ in range(times):
                    make(batch)
                measured[name].append((time.perf_counter() - started, time.process_time() - worked))
        print(f"{'':30}{'× time':>9}{'× CPU':>9}{'pictures/s (CPU)':>20}")
        for name, rounds in measured.items():
            clock, cpu = (
                statistics.median(there[n] / here[n] for there, here in zip(rounds, measured[OURS]))
                for n in (0, 1)
            )
            rate = options.batch / statistics.median(turn[1] for turn in rounds)
            print(f"{name:30}{clock:9.2f}{cpu:9.2f}{rate:20.0f}")


if __name__ == "__main__":
    main()
