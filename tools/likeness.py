"""How alike two pictures look: near-duplicates are kept on one side of a split, and counted in the census.

RGBA pictures -> signatures -> pairs that look nearly the same, with their distance
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

SIDE = 24  # pixels: fine enough to tell two faces by their mouths


@dataclass(frozen=True)
class Signatures:
    """Of N pictures. seen: float32[N, SIDE·SIDE·4], laid on mid grey, and the alpha; covered: float32[N] in (0, 1].

    Comparing both keeps a grey cloud from a grey box, and a red heart from a blue one.
    """

    seen: np.ndarray
    covered: np.ndarray


def signatures(pictures: Sequence[Image.Image]) -> Signatures:
    """Each RGBA picture centred on a square and made small."""
    rows = [_small(picture) for picture in pictures]
    alpha = np.stack([row[..., 3] for row in rows])
    colour = np.stack([row[..., :3] * row[..., 3:] + 0.5 * (1 - row[..., 3:]) for row in rows])
    # Alpha counts as much as the three colours together.
    seen = np.concatenate([colour, np.sqrt(np.float32(3)) * alpha[..., None]], axis=3)
    return Signatures(seen.reshape(len(rows), -1), alpha.mean(axis=(1, 2)))


def near(a: Signatures, b: Signatures, limit: float) -> list[tuple[int, int, float]]:
    """(i, j, distance) of every picture i of `a` and j of `b` that are nearer than `limit`.

    The distance is the root mean square difference in units of full scale, relative to how much of the square
    the two cover: thin things would all be alike. 0 is equal.
    """
    channels = 6 * SIDE * SIDE  # three of colour, alpha as three
    covered = (a.covered[:, None] + b.covered[None]) / 2
    squares = (a.seen**2).sum(1)[:, None] + (b.seen**2).sum(1)[None] - 2 * a.seen @ b.seen.T
    # In float32 the product is off by some 1e-3: it finds the candidates, each of which is then measured.
    candidates = np.argwhere(squares / channels / covered < (limit + 0.01) ** 2)
    found = []
    for i, j in candidates:
        mean_square = ((a.seen[i].astype(np.float64) - b.seen[j]) ** 2).sum() / channels
        distance = float(np.sqrt(mean_square / covered[i, j]))
        if distance < limit:
            found.append((int(i), int(j), distance))
    return found


def near_pairs(
    pictures: Sequence[Image.Image], limit: float, *, mirrored: bool
) -> list[tuple[int, int, float]]:
    """(i, j, distance) of all pictures i < j nearer than `limit`; `mirrored`: as they are or in a mirror."""
    plain = signatures(pictures)
    found = near(plain, plain, limit)
    if mirrored:
        found += near(plain, signatures([ImageOps.mirror(picture) for picture in pictures]), limit)
    nearest: dict[tuple[int, int], float] = {}
    for i, j, distance in found:
        if i < j:
            nearest[i, j] = min(distance, nearest.get((i, j), distance))
    return [(i, j, distance) for (i, j), distance in sorted(nearest.items())]


def _small(picture: Image.Image) -> np.ndarray:
    """float32[SIDE, SIDE, 4] in [0, 1]."""
    square = Image.new("RGBA", (max(picture.size),) * 2, (0, 0, 0, 0))
    square.paste(picture, ((square.width - picture.width) // 2, (square.height - picture.height) // 2))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255
