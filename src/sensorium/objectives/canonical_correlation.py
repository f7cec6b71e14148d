"""The closed-form aligner: features of any number of modalities -> affine maps into one space, in a second.

Regularised canonical correlation analysis (Hotelling 1936; the ridge after Vinod 1976) on cached features.
It is the baseline that a trained aligner must beat, and the warm start that its heads may begin from.

    x ──► (x − mean_x) · A_x ──┐                    C_xx: covariance over every row that has x
                               ├──► cosine          C_xy: covariance over the rows that have x and y
    y ──► (y − mean_y) · A_y ──┘

    T = (C_xx + λ_x)^(-1/2) C_xy (C_yy + λ_y)^(-1/2) = U diag(ρ) V'
    A_x = (C_xx + λ_x)^(-1/2) U_k diag(ρ_k)^p,   A_y = (C_yy + λ_y)^(-1/2) V_k diag(ρ_k)^p

ρ are the canonical correlations; the exponent p weighs each shared dimension by how much the two agree on it.

**More than two modalities.** The two *anchors* (the pair that shares most rows, unless named) are fitted
exactly as above, and every further column z is then carried into their space by a ridge regression on its
coordinates t:

    A_z = (C_zz + λ_z)^(-1) C_zt diag(ρ_k)^p

where t are the coordinates (before the weighting by ρ^p) of the columns placed before z, over the rows that
they share with z, averaged by the number of those rows. This binds everything to the anchors as ImageBind
(Girdhar et al. 2023) binds everything to pictures: the maps of the anchors are the same numbers with a
third column and without it, so three cannot lose what two reach. The alternative, MAXVAR generalised CCA
(Kettenring 1971), solves for all columns at once and gives up correlation of the first pair for the sum
over pairs. A column may also hang on a third one (speech -> picture -> words): columns are placed in the
order of how many rows they share with the placed ones.

**Meanings.** Rows that share a meaning are pairs too: for a group g of n_x(g) and n_y(g) rows, the
cross-covariance takes the two group means with weight sqrt(n_x n_y), which keeps the joint covariance
positive semi-definite when both columns see the same groups.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn


@dataclass(frozen=True)
class AffineMap:
    """x -> (x − mean) @ matrix. mean: float[W]; matrix: float[W, D]."""

    mean: Tensor
    matrix: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.mean) @ self.matrix

    def linear(self) -> nn.Linear:
        """The same map as a trainable `nn.Linear(W, D)`."""
        W, D = self.matrix.shape
        linear = nn.Linear(W, D, dtype=self.matrix.dtype, device=self.matrix.device)
        with torch.no_grad():
            linear.weight.copy_(self.matrix.T)
            linear.bias.copy_(-self.mean @ self.matrix)
        return linear


@dataclass(frozen=True)
class Alignment:
    """What `align` found.

    maps:         by column, an affine map into the shared space of D dimensions
    correlations: float[D], the anchors' regularised canonical correlations, falling
    anchors:      the two columns that span the space
    shared:       by column, how many meanings it was fitted on together with the columns placed before it
    """

    maps: dict[str, AffineMap]
    correlations: Tensor
    anchors: tuple[str, str]
    shared: dict[str, int]

    def linear(self, column: str) -> nn.Linear:
        return self.maps[column].linear()


def align(
    features: Mapping[str, Tensor],
    present: Mapping[str, Tensor] | None = None,
    meanings: Tensor | None = None,
    *,
    rank: int,
    ridge: float | Mapping[str, float] = 1.0,
    power: float = 0.5,
    anchors: tuple[str, str] | None = None,
) -> Alignment:
    """Fit the maps that bring several columns of features into one space.

    features: by column float[P, W], one row for each of the P records that have the column, in record order
              (as in `Embeddings.vectors`); or float[N, W] for all N records, absent ones included, whose rows
              outside `present` are never read
    present:  by column bool[N]; None: every record has every column
    meanings: int64[N] or int64[N, K], -1 for none: records that share an id, also through a third record, are
              one group, and all their rows are pairs; None: each record is its own group
    rank:     D, at most the smaller width of the anchors and one less than the groups that they share
    ridge:    λ as a multiple of the mean variance of the column, one for all or by column. What over-fits
              less needs less: 0.3 to 1 on pooled picture features and 0.003 on sentence embeddings were
              good on 1,400 things
    power:    p above. 0: plain canonical variates. 0.5: inner products Σ ρ u v, the whitened cross-covariance
              T itself cut to rank D; the best or next to it on the bundled emoji. 1: both sides weigh by ρ.
    anchors:  the two columns that span the space

    Covariances are taken in the dtype of the features, everything after them in float64; maps are float32.
    Raises ValueError when a column shares no row with the others or when the rank is too large.
    """
    if len(features) < 2:
        raise ValueError(f"got the columns {sorted(features)}: an alignment needs at least two")
    if isinstance(ridge, Mapping) and set(ridge) != set(features):
        raise ValueError(
            f"ridges for {sorted(ridge)}, features for {sorted(features)}: name the same columns"
        )
    masks = _masks(features, present)
    groups = _groups(meanings, len(next(iter(masks.values()))))
    columns = {
        name: _Column.of(
            name,
            _rows_present(name, rows, masks[name]),
            groups[masks[name].to(groups.device)],
            ridge if isinstance(ridge, int | float) else ridge[name],
        )
        for name, rows in features.items()
    }
    if anchors is not None and (len(set(anchors)) != 2 or not set(anchors) <= set(columns)):
        raise ValueError(f"anchors {anchors}: give two of {sorted(columns)}")
    first, second = anchors or _most_shared_pair(columns)
    coordinates, correlations, shared = _fit_anchors(columns[first], columns[second], rank)
    groups_used = {first: shared, second: shared}
    while waiting := [columns[name] for name in columns if name not in coordinates]:
        links = {x.name: _links(x, [columns[name] for name in coordinates]) for x in waiting}
        x = max(waiting, key=lambda x: sum(link.shared for link in links[x.name]))
        groups_used[x.name] = sum(link.shared for link in links[x.name])
        if not links[x.name]:
            raise ValueError(
                f"{[x.name for x in waiting]} share no two meanings with {sorted(coordinates)}: give records "
                f"that have both, or leave those columns out"
            )
        target = torch.stack(
            [
                link.covariance @ coordinates[link.to] * (link.shared / groups_used[x.name])
                for link in links[x.name]
            ]
        ).sum(0)
        coordinates[x.name] = torch.cholesky_solve(target, x.root)
    weights = correlations**power
    maps = {
        name: AffineMap(columns[name].mean.float(), (coordinates[name] * weights).float())
        for name in features
    }
    return Alignment(maps, correlations.float(), (first, second), groups_used)


@dataclass(frozen=True)
class _Column:
    """rows: float[P, W], centred; groups: int64[P]; mean: float64[W]; root root' = covariance + λ"""

    name: str
    rows: Tensor
    groups: Tensor
    mean: Tensor
    root: Tensor

    @classmethod
    def of(cls, name: str, rows: Tensor, groups: Tensor, ridge: float) -> _Column:
        mean = rows.mean(0)
        rows = rows - mean
        covariance = _gram(rows).double() / len(rows)
        variance = covariance.diagonal().mean()
        if not variance.isfinite() or variance <= 0:
            raise ValueError(
                f"the features of {name!r} have mean variance {variance:g}: they must be finite and differ"
            )
        covariance.diagonal().add_(ridge * variance)
        root, failed = torch.linalg.cholesky_ex(covariance)
        if failed:
            raise ValueError(
                f"the covariance of {name!r} ({rows.shape[1]} dimensions, {len(rows)} rows) is singular at "
                f"ridge {ridge:g}: give it a larger ridge, say {{{name!r}: 0.01}}"
            )
        return cls(name, rows, groups, mean.double(), root)


def _gram(rows: Tensor, strips: int = 4) -> Tensor:
    """rows' rows, float[W, W]. Symmetric, so that strip by strip from the diagonal down takes 5/8 of the work."""
    W = rows.shape[1]
    gram = rows.new_empty(W, W)
    width = max(1, math.ceil(W / strips))
    for start in range(0, W, width):
        end = min(start + width, W)
        gram[start:, start:end] = rows[:, start:].T @ rows[:, start:end]
        gram[start:end, end:] = gram[end:, start:end].T
    return gram


@dataclass(frozen=True)
class _Link:
    """covariance: float64[W_x, W_to] over the groups that x and `to` share, and how many those are."""

    to: str
    covariance: Tensor
    shared: int


def _fit_anchors(x: _Column, y: _Column, rank: int) -> tuple[dict[str, Tensor], Tensor, int]:
    """By name float64[W, rank], the maps before the power; float64[rank], correlations; how many meanings."""
    if x.rows.shape[1] < y.rows.shape[1]:
        x, y = y, x
    link = _link(x, y)
    most = min(*link.covariance.shape, link.shared - 1)
    if not 0 < rank <= most:
        raise ValueError(
            f"rank {rank}, but {x.name!r} (width {x.rows.shape[1]}) and {y.name!r} "
            f"(width {y.rows.shape[1]}) share at most {max(most, 0)} dimensions "
            f"over {link.shared} common meanings: give a rank from 1 up to that"
        )
    whitened = torch.linalg.solve_triangular(x.root, link.covariance, upper=False)
    whitened = torch.linalg.solve_triangular(y.root, whitened.T, upper=False).T
    # The eigenvectors of T'T instead of the SVD of T: ten times faster, and in float64 as good for any
    # correlation above 1e-6. Where there is none, u is left near 0 instead of an arbitrary direction.
    squares, V = torch.linalg.eigh(whitened.T @ whitened)
    correlations, V = squares.flip(0)[:rank].clamp(min=0.0).sqrt(), V.flip(1)[:, :rank]
    U = whitened @ V / correlations.clamp(min=1e-6)
    coordinates = {
        x.name: torch.linalg.solve_triangular(x.root.T, U, upper=True),
        y.name: torch.linalg.solve_triangular(y.root.T, V, upper=True),
    }
    # Covariances over different sets of rows may overshoot 1.
    return coordinates, correlations.clamp(max=1.0), link.shared


def _links(x: _Column, others: list[_Column]) -> list[_Link]:
    """To every column that shares at least two groups with x: one group has no covariance."""
    links = (_link(x, other) for other in others)
    return [link for link in links if link.shared >= 2]


def _link(x: _Column, y: _Column) -> _Link:
    """Cross-covariance of the group means, weight sqrt(n_x n_y), about their own means: the shared groups may
    be a kind of their own (the spoken pictures, say), and their offset from all rows is no correlation.
    """
    shared = torch.unique(x.groups)
    shared = shared[torch.isin(shared, y.groups)]
    if len(shared) == 0:
        return _Link(y.name, x.mean.new_zeros(len(x.mean), len(y.mean)), 0)
    (x_means, n_x), (y_means, n_y) = _group_means(x, shared), _group_means(y, shared)
    weights = (n_x * n_y).sqrt()
    weights = weights / weights.sum()
    weighted_y = weights[:, None] * y_means
    offset = torch.outer(weights @ x_means, weighted_y.sum(0))
    return _Link(y.name, (x_means.T @ weighted_y - offset).double(), len(shared))


def _group_means(x: _Column, shared: Tensor) -> tuple[Tensor, Tensor]:
    """float[G, W] the mean of x's rows in each shared group (sorted ids), float[G] how many there are."""
    rows = torch.isin(x.groups, shared).nonzero().squeeze(1)
    rows = rows[torch.argsort(x.groups[rows])]
    counts = torch.bincount(torch.searchsorted(shared, x.groups[rows]), minlength=len(shared))
    if len(rows) == len(shared):
        return x.rows[rows], counts.to(x.rows.dtype)
    return torch.segment_reduce(x.rows[rows], "mean", lengths=counts), counts.to(x.rows.dtype)


def _most_shared_pair(columns: dict[str, _Column]) -> tuple[str, str]:
    """Ties go to the columns named first."""
    ids = {name: torch.unique(column.groups) for name, column in columns.items()}
    pairs = itertools.combinations(columns, 2)
    return max(pairs, key=lambda pair: int(torch.isin(ids[pair[0]], ids[pair[1]]).sum()))


def _masks(features: Mapping[str, Tensor], present: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """By column bool[N]."""
    if present is None:
        present = {name: torch.ones(len(rows), dtype=torch.bool) for name, rows in features.items()}
    lengths = {name: len(present[name]) for name in features}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"columns of {lengths} records: give `present`, bool[N] for the same N records each")
    return {name: present[name] for name in features}


def _rows_present(name: str, rows: Tensor, mask: Tensor) -> Tensor:
    """float[P, W] of float[P, W] or float[N, W]."""
    count = int(mask.sum())
    if len(rows) == count:
        return rows
    if len(rows) == len(mask):
        return rows[mask.to(rows.device)]
    raise ValueError(f"{name!r}: {len(rows)} rows of features, but {count} of {len(mask)} records have it")


def _groups(meanings: Tensor | None, N: int) -> Tensor:
    """int64[N], equal for records that are joined by shared ids."""
    if meanings is None:
        return torch.arange(N)
    if len(meanings) != N:
        raise ValueError(f"meanings of {len(meanings)} records, but `present` is of {N}")
    ids = meanings.reshape(N, -1).cpu()
    record, slot = (ids >= 0).nonzero(as_tuple=True)
    meaning = torch.unique(ids[record, slot], return_inverse=True)[1]
    # Records and meanings are the nodes of one graph; its components are the groups.
    size = N + (int(meaning.max()) + 1 if len(meaning) else 0)
    edges = coo_array(
        (torch.ones(len(record)).numpy(), (record.numpy(), (N + meaning).numpy())), shape=(size, size)
    )
    return torch.from_numpy(connected_components(edges, directed=False)[1][:N]).long()
