"""Embeddings in two dimensions, pictures shown where they lie.

Map(vectors, groups, pictures) -> scatter with thumbnails
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sensorium.viewing.inline import Picture, picture_uri
from sensorium.viewing.projection import project
from sensorium.viewing.svg import esc, legend, num

KINDS = ("c0", "c1", "c2", "c3", "c4", "c5")
WIDTH, HEIGHT, SIDE, MARGIN = 1080, 640, 40, 28


@dataclass(frozen=True)
class Map:
    """Points of a space seen from above.

    vectors:  float[N, D]; two columns are taken as they are, more are projected
    groups:   what each point is: a modality, a language, an artist; one colour each, at most six
    labels:   N texts, shown when the pointer rests on a point; "" for none
    pictures: N pictures or None. A picture is drawn where it does not cover another, a dot elsewhere
    method:   "auto" (UMAP where installed, else PCA), "pca", "lda" (of the groups), "mds", "umap"
    """

    title: str
    vectors: np.ndarray
    groups: Sequence[str]
    labels: Sequence[str] = ()
    pictures: Sequence[Picture | None] = ()
    note: str = ""
    method: str = "auto"

    def __post_init__(self) -> None:
        N = len(self.vectors)
        for name in ("groups", "labels", "pictures"):
            number = len(getattr(self, name))
            if number != N and (number or name == "groups"):
                raise ValueError(
                    f"Map {self.title!r}: got {number} {name} for {N} vectors; expected one each"
                )
        if len(set(self.groups)) > len(KINDS):
            raise ValueError(
                f"Map {self.title!r}: got {len(set(self.groups))} groups; expected at most {len(KINDS)}"
            )


def map_html(map_: Map) -> str:
    points, method = (
        (np.asarray(map_.vectors), "")
        if map_.vectors.shape[1] == 2
        else project(map_.vectors, map_.method, labels=map_.groups)
    )
    xy = placed(points)
    names = list(dict.fromkeys(map_.groups))
    kinds = dict(zip(names, KINDS))
    pictures = map_.pictures or [None] * len(xy)
    labels = map_.labels or [""] * len(xy)
    shown = apart(xy, [n for n, picture in enumerate(pictures) if picture is not None])
    dots, images = [], []
    for n, (x, y) in enumerate(xy):
        title = f"<title>{esc(labels[n])}</title>" if labels[n] else ""
        kind = kinds[map_.groups[n]]
        if n not in shown:
            dots.append(f'<circle class="dot {kind}" cx="{num(x)}" cy="{num(y)}" r="3.2">{title}</circle>')
            continue
        picture = pictures[n]
        assert picture is not None
        corner = f'x="{num(x - SIDE / 2)}" y="{num(y - SIDE / 2)}" width="{SIDE}" height="{SIDE}"'
        images.append(
            f'<g>{title}<rect class="tilebg {kind}" {corner} rx="6"/><image {corner} '
            f'clip-path="inset(1px round 5px)" href="{picture_uri(picture, 80)}"/></g>'
        )
    note = " ".join(filter(None, [map_.note, f"Projected by {method}." if method else ""]))
    keys = legend([(f"round {kinds[name]}", name) for name in names])
    drawing = (
        f'<svg class="map" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{esc(map_.title)}">'
        f"{''.join(dots)}{''.join(images)}</svg>"
    )
    return (
        f'<figure class="panel wide"><figcaption>{esc(map_.title)}</figcaption>{keys}{drawing}'
        f'<p class="note">{esc(note)}</p></figure>'
    )


def placed(points: np.ndarray) -> np.ndarray:
    """float[N, 2] -> places on the drawing. Outliers that would leave the rest no room are pulled in."""
    low, high = np.quantile(points, 0.01, axis=0), np.quantile(points, 0.99, axis=0)
    share = np.clip((points - low) / np.maximum(high - low, 1e-9), 0, 1)
    size = np.array([WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN])
    xy = MARGIN + share * size
    xy[:, 1] = HEIGHT - xy[:, 1]
    return xy


def apart(xy: np.ndarray, candidates: Sequence[int]) -> set[int]:
    """Of the candidates, in their order, those whose tiles do not touch one chosen before."""
    chosen: list[int] = []
    for n in candidates:
        near = np.abs(xy[chosen] - xy[n]).max(1) if chosen else np.array([np.inf])
        if near.min() >= SIDE + 3:
            chosen.append(n)
    return set(chosen)
