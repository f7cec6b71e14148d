"""Vectors in two dimensions.

float[N, D] -> float[N, 2], by UMAP where it is installed, by PCA elsewhere; by LDA or MDS when asked
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

METHODS = ("auto", "pca", "lda", "mds", "umap")
NAMES = {"pca": "PCA", "lda": "LDA", "mds": "MDS", "umap": "UMAP"}
MOST = 2_000  # points that MDS places: it compares every pair, many times


def project(
    vectors: np.ndarray, method: str = "auto", seed: int = 0, labels: Sequence[Any] | None = None
) -> tuple[np.ndarray, str]:
    """Coordinates in the plane and the name of the method that gave them.

    method: "pca"; "lda", which spreads the groups of `labels` apart; "mds", whose distances are nearest to the
            cosine distances of the vectors; "umap" (McInnes et al. 2018; needs the package umap-learn), or "auto":
            UMAP where installed
    labels: N, for "lda". What LDA shows was told to it: its groups lie apart where those of PCA need not

    Raises ValueError for an unknown method, one that is not installed, and what it cannot place.
    """
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}; expected one of {', '.join(METHODS)}")
    vectors = np.asarray(vectors, np.float32)
    if method == "lda":
        return discriminants(vectors, labels), "LDA"
    if method == "mds":
        return scaled(vectors), "MDS"
    installed = importlib.util.find_spec("umap") is not None
    if method == "umap" and not installed:
        raise ValueError('method="umap": the package is not installed; type: pip install umap-learn')
    if method == "pca" or not installed or len(vectors) < 16:
        return principal_components(vectors), "PCA"
    import umap

    reducer = umap.UMAP(
        n_components=2, metric="cosine", n_neighbors=min(15, len(vectors) - 1), random_state=seed
    )
    return np.asarray(reducer.fit_transform(vectors), np.float32), "UMAP"


def principal_components(vectors: np.ndarray) -> np.ndarray:
    """The two directions of largest variance, each turned so that its largest value is positive."""
    centred = vectors - vectors.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:2].T
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    extreme = points[np.abs(points).argmax(0), [0, 1]]
    return points * np.where(extreme < 0, -1.0, 1.0)


def discriminants(vectors: np.ndarray, labels: Sequence[Any] | None) -> np.ndarray:
    """The two directions in which labels differ most beside what varies within them (Fisher 1936).

    Covariances are shrunk as Ledoit & Wolf (2004) say, since vectors are often longer than there are of them. Two
    labels differ in one direction; the second is then the largest component of what that leaves.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    if labels is None or len(labels) != len(vectors):
        got = "none" if labels is None else len(labels)
        raise ValueError(f'method="lda": got {got} labels for {len(vectors)} vectors; expected one each')
    names = np.asarray([str(label) for label in labels])
    kinds = len(set(names.tolist()))
    if not 2 <= kinds < len(vectors):
        raise ValueError(
            f'method="lda": got {kinds} different labels for {len(vectors)} vectors; expected at least 2, and '
            "several vectors for some"
        )
    centred = (vectors - vectors.mean(0)).astype(np.float64)
    fitted = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(centred, names)
    points = centred @ fitted.scalings_[:, : min(2, kinds - 1)]
    if points.shape[1] < 2:
        direction = np.linalg.lstsq(points, centred, rcond=None)[0]
        rest = principal_components(centred - points @ direction)[:, :1]
        points = np.concatenate([points, rest], 1)
    return points


def scaled(vectors: np.ndarray) -> np.ndarray:
    """Points whose distances fit best those between the unit vectors, √(2 - 2 cos).

    Classical scaling (Torgerson 1952) gives the start, SMACOF (de Leeuw 1977) makes it better; then turned to the
    principal components.
    """
    from sklearn.manifold import smacof

    if not 2 <= len(vectors) <= MOST:
        raise ValueError(
            f'method="mds": got {len(vectors)} vectors; expected from 2 to {MOST}, since it compares every pair. '
            "Show some of them"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.maximum(lengths, 1e-12)).astype(np.float64)
    squared = np.maximum((unit**2).sum(1)[:, None] + (unit**2).sum(1) - 2 * unit @ unit.T, 0)
    np.fill_diagonal(squared, 0)
    start = principal_components(unit)  # classical scaling of these distances
    found = smacof(np.sqrt(squared), n_components=2, init=start, n_init=1, eps=1e-6, normalized_stress=False)
    return principal_components(found[0])
