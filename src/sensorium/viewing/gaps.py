"""Two modalities in one space, and how far apart they lie.

Gap(first, second, pairs) -> a scatter with pairs joined, and the cosines of pairs against those of all

Liang et al. 2022, "Mind the Gap", figure 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sensorium.viewing.projection import principal_components
from sensorium.viewing.svg import Frame, esc, legend, num

JOINED = 120  # pairs that are drawn; the histograms are of all
BINS = 48


@dataclass(frozen=True)
class Gap:
    """Two columns of unit vectors that describe the same things.

    first, second: float[N, D], float[M, D]
    pairs:         int64[P, 2], rows of first and second that belong together
    numbers:       what was measured ("distance": 0.31, …), printed below
    """

    title: str
    first: np.ndarray
    second: np.ndarray
    pairs: np.ndarray
    names: tuple[str, str]
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pairs.ndim != 2 or self.pairs.shape[1] != 2 or len(self.pairs) == 0:
            raise ValueError(f"Gap {self.title!r}: got pairs {self.pairs.shape}; expected int64[P, 2], P > 0")


def gap_html(gap: Gap) -> str:
    said = " · ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in gap.numbers.items())
    one, two = (esc(name) for name in gap.names)
    keys = legend([("round c0", gap.names[0]), ("round c1", gap.names[1])])
    other = legend([("c2", "pairs that belong together"), ("grey", "all pairs")])
    return (
        f'<div class="panels"><figure class="panel"><figcaption>{esc(gap.title)}: {one} and {two} along the '
        f"two directions of largest variance</figcaption>{keys}{_scatter(gap)}</figure>"
        f'<figure class="panel"><figcaption>Cosine between {one} and {two}</figcaption>{other}'
        f'{_histograms(gap)}<p class="note">{esc(said)}</p></figure></div>'
    )


def _scatter(gap: Gap) -> str:
    rng = np.random.default_rng(0)
    drawn = gap.pairs[rng.permutation(len(gap.pairs))[:JOINED]]
    points = principal_components(np.concatenate([gap.first, gap.second]))
    a, b = points[drawn[:, 0]], points[len(gap.first) + drawn[:, 1]]
    both = np.concatenate([a, b])
    room = 0.05 * np.ptp(both, axis=0) + 1e-9
    (x_low, y_low), (x_high, y_high) = both.min(0) - room, both.max(0) + room
    frame = Frame(x_low, x_high, y_low, y_high, left=10, right=10, top=10, bottom=10, height=290)
    place = [(float(frame.x(x)), float(frame.y(y))) for x, y in both]
    first, second = place[: len(a)], place[len(a) :]
    joins = [
        f'<path class="join" d="M{num(p[0])} {num(p[1])}L{num(q[0])} {num(q[1])}"/>'
        for p, q in zip(first, second)
    ]
    dots = [
        f'<circle class="dot {kind}" cx="{num(x)}" cy="{num(y)}" r="3.4"/>'
        for kind, group in (("c0", first), ("c1", second))
        for x, y in group
    ]
    return frame.svg(*joins, *dots, label=f"{gap.title}, projected")


def _histograms(gap: Gap) -> str:
    a, b = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (gap.first, gap.second))
    matched = np.einsum("nd,nd->n", a[gap.pairs[:, 0]], b[gap.pairs[:, 1]])
    rng = np.random.default_rng(0)
    number = min(20_000, len(a) * len(b))
    every = np.einsum("nd,nd->n", a[rng.integers(0, len(a), number)], b[rng.integers(0, len(b), number)])
    low, high = min(matched.min(), every.min()), max(matched.max(), every.max())
    edges = np.linspace(low - 0.02, high + 0.02, BINS + 1)
    shares = [np.histogram(values, edges)[0] / len(values) for values in (every, matched)]
    frame = Frame(edges[0], edges[-1], 0, 1.08 * max(s.max() for s in shares), height=262)
    drawn = [frame.axes("cosine", percent=True)]
    for kind, share in zip(("grey", "c2"), shares):
        x, y = np.repeat(edges, 2), np.concatenate([[0], np.repeat(share, 2), [0]])
        drawn += [frame.band(x, np.zeros_like(y), y, kind), frame.line(x, y, kind)]
    return frame.svg(*drawn, label=f"{gap.title}, cosines")
