"""Feature extraction as in the textbooks: a frozen linear map by PCA, LDA or MDS (`Reduction`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.features import Features
from sensorium.projectors.projector import Projector, real

Method = Literal["pca", "lda", "mds"]
METHODS: tuple[str, ...] = ("pca", "lda", "mds")
Distance = Literal["euclidean", "cosine"]
DISTANCES: tuple[str, ...] = ("euclidean", "cosine")
MOST = 5_000  # points that MDS compares with each other; their distances take 200 MB


class Reduction(Projector):
    """Features[B, T, W] -> Features[B, T, D], the pooled vector and every token by one map that does not learn.

        x ──► (/ |x|, for MDS of cosines) ──► - centre ──► · matrix ──► y

    pca: the directions of largest variance (scikit-learn's `PCA`)
    lda: the directions in which labels differ most beside what varies within them (`LinearDiscriminantAnalysis`),
         at most one less than there are labels; centred on the mean of the fitted rows
    mds: classical scaling (Torgerson 1952): coordinates whose distances are those between the vectors. With
         D² the squared distances of M fitted vectors, J = 1 - 11ᵀ/M and -½ J D² J = V Λ Vᵀ, the fitted points
         are V Λ^½, and another vector at squared distances d from them is ½ Λ^-½ Vᵀ (D² 1/M - d) (Gower 1968,
         equation 10). Both distances here are lengths of differences of (unit) vectors x_i; as Vᵀ 1 = 0, that is
         Λ^-½ Vᵀ X (x - mean), with X the fitted x_i - mean: a linear map, and no fitted vector is kept.
         Of "euclidean" distances it is PCA but for signs; of "cosine" ones (√(2 - 2 cos), the chord between unit
         vectors) it is not.

    `Reduction.fit` makes one. Built by itself, as when a checkpoint is loaded, it has no map yet and refuses to
    compute. Buffers: centre float[W], matrix float[W, D].
    """

    centre: Tensor
    matrix: Tensor

    def __init__(self, in_width: int, width: int, unit: bool = False) -> None:
        super().__init__()
        if not 1 <= width <= in_width:
            raise ValueError(f"width: got {width}; expected from 1 to {in_width}, the width that comes in")
        self.width, self.unit = width, unit
        self.register_buffer("centre", torch.full((in_width,), float("nan")))
        self.register_buffer("matrix", torch.full((in_width, width), float("nan")))

    @classmethod
    def fit(
        cls,
        method: str,
        features: Features | Tensor | np.ndarray,
        labels: Sequence[Any] | None = None,
        width: int = 2,
        *,
        distance: str = "euclidean",
        shrinkage: float | Literal["auto"] | None = None,
    ) -> Reduction:
        """From N vectors: the pooled ones of Features, or float[N, W].

        labels:    N, for "lda"
        width:     D
        distance:  of "mds": "euclidean" or "cosine"
        shrinkage: of the covariances of "lda", 0 to 1 or "auto" (Ledoit & Wolf 2004). None is the textbook's, which
                   needs far more vectors than they have numbers: with fewer it separates what it has seen and
                   nothing else

        Raises ValueError for sizes, labels or methods that cannot be.
        """
        x = rows_of(features)
        N, W = x.shape
        most = largest(method, N, W, labels)
        if not 1 <= width <= most:
            why = {
                "pca": f"{N} vectors of {W} numbers vary in at most {most} directions",
                "lda": f"{most + 1} labels differ in at most {most} directions",
                "mds": f"{N} vectors of {W} numbers have at most {most} coordinates",
            }[method]
            raise ValueError(f"width of {method}: got {width}; expected from 1 to {most}: {why}")
        if distance not in DISTANCES:
            raise ValueError(f"distance: got {distance!r}; expected one of {', '.join(DISTANCES)}")
        made = cls(W, width, unit=method == "mds" and distance == "cosine")
        if made.unit:
            x = _unit(x)
        centre = x.mean(0)
        if method == "pca":
            matrix = _pca(x, width)
        elif method == "lda":
            assert labels is not None
            matrix = _lda(x, np.asarray([str(label) for label in labels]), width, shrinkage)
        else:
            matrix = _mds(x - centre, width)
        made.centre.copy_(torch.from_numpy(centre))
        made.matrix.copy_(torch.from_numpy(matrix))
        return made

    def forward(self, features: Features) -> Features:
        if bool(self.centre[0].isnan()):
            raise ValueError(
                "this Reduction was never fitted: use Reduction.fit(…), or load a checkpoint into it"
            )
        pooled = self._mapped(features.pooled)
        if features.tokens.shape[1] == 1 and features.tokens.data_ptr() == features.pooled.data_ptr():
            return Features(pooled[:, None], features.mask, pooled)  # read from a cache of pooled vectors
        tokens = self._mapped(real(features)).masked_fill(~features.mask[..., None], 0.0)
        return Features(tokens, features.mask, pooled)

    def _mapped(self, x: Tensor) -> Tensor:
        x = x.to(self.matrix.dtype)
        return ((F.normalize(x, dim=-1) if self.unit else x) - self.centre) @ self.matrix


def largest(method: str, rows: int, in_width: int, labels: Sequence[Any] | None = None) -> int:
    """The largest width that so many vectors of so many numbers can be reduced to.

    Raises ValueError for a method that does not exist and for labels that LDA cannot use.
    """
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}; expected one of {', '.join(METHODS)}")
    if method == "mds" and rows > MOST:
        raise ValueError(
            f"mds compares each vector with every other: got {rows}, expected at most {MOST}; fit it on some of them"
        )
    if rows < 2:
        raise ValueError(f"{method}: got {rows} vectors; expected at least 2")
    if method != "lda":
        return min(rows - 1, in_width)
    if labels is None or len(labels) != rows:
        got = "none" if labels is None else len(labels)
        raise ValueError(f"labels of lda: got {got}; expected one for each of the {rows} vectors")
    kinds = len({str(label) for label in labels})
    if not 2 <= kinds < rows:
        raise ValueError(
            f"labels of lda: got {kinds} different ones for {rows} vectors; expected at least 2, and several vectors "
            "for some"
        )
    return min(kinds - 1, in_width)


def rows_of(features: Features | Tensor | np.ndarray) -> np.ndarray:
    """float64[N, W]. Raises ValueError for other shapes and numbers that are none."""
    found = features.pooled if isinstance(features, Features) else features
    x = (found.detach().cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)).astype(np.float64)
    if x.ndim != 2:
        raise ValueError(f"features: got float{list(x.shape)}; expected Features, or float[N, W]")
    if not np.isfinite(x).all():
        wrong = np.flatnonzero(~np.isfinite(x).all(1))
        raise ValueError(
            f"features: {len(wrong)} of {len(x)} vectors are not finite, the first of row {wrong[0]}"
        )
    return x


def _pca(x: np.ndarray, width: int) -> np.ndarray:
    from sklearn.decomposition import PCA

    solver = "covariance_eigh" if len(x) > x.shape[1] else "full"  # exact both; which is quicker
    components: np.ndarray = PCA(width, svd_solver=solver).fit(x).components_
    return components.T


def _lda(x: np.ndarray, labels: np.ndarray, width: int, shrinkage: Any) -> np.ndarray:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    solver = "svd" if shrinkage is None else "eigen"
    fitted = LinearDiscriminantAnalysis(solver=solver, shrinkage=shrinkage, n_components=width).fit(x, labels)
    matrix: np.ndarray = fitted.scalings_[:, :width]
    if matrix.shape[1] < width:
        raise ValueError(
            f"lda: these labels differ in {matrix.shape[1]} directions only, got width={width}: ask for fewer"
        )
    return matrix


def _mds(x: np.ndarray, width: int) -> np.ndarray:
    """x: float[M, W], centred."""
    from scipy.linalg import eigh

    squares = (x**2).sum(1)
    squared = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)
    means = squared.mean(1)
    centred = -0.5 * (squared - means[:, None] - means + means.mean())
    M = len(x)
    values, vectors = eigh(centred, subset_by_index=(M - width, M - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    if values[-1] <= 1e-10 * values[0]:
        raise ValueError(
            f"mds: these vectors lie in {int((values > 1e-10 * values[0]).sum())} dimensions, got width={width}: "
            "ask for fewer"
        )
    matrix: np.ndarray = x.T @ (vectors / np.sqrt(values))
    return matrix


def _unit(x: np.ndarray) -> np.ndarray:
    """As F.normalize: a vector of zeros stays one."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
