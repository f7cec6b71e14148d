"""Vectors in two dimensions.

float[N, D] -> float[N, 2], by UMAP where it is installed, by PCA elsewhere
"""

from __future__ import annotations

import importlib.util

import numpy as np

METHODS = ("auto", "pca", "umap")


def project(vectors: np.ndarray, method: str = "auto", seed: int = 0) -> tuple[np.ndarray, str]:
    """Coordinates in the plane and the name of the method that gave them.

    method: "pca", "umap" (McInnes et al. 2018; needs the package umap-learn), or "auto": UMAP where installed
    """
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}; expected one of {', '.join(METHODS)}")
    vectors = np.asarray(vectors, np.float32)
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
