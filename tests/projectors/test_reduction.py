"""PCA and LDA equal scikit-learn's; MDS keeps distances and places new vectors as Gower's formula says."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.manifold import ClassicalMDS

from sensorium.features import Features
from sensorium.projectors.projector import Chain
from sensorium.projectors.reduction import Reduction, largest


@pytest.fixture
def clusters():
    """float32[90, 12] around three centres far from the origin, and their labels."""
    random = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], 30)
    centres = {"a": 5.0, "b": 8.0, "c": 2.0}
    scales = np.linspace(3, 0.3, 12)
    x = random.normal(size=(90, 12)) * scales + [[centres[label]] * 12 for label in labels]
    return x.astype(np.float32), labels.tolist()


def mapped(reduction, x):
    return reduction(Features.from_pooled(torch.from_numpy(np.asarray(x, np.float32)))).pooled.numpy()


@pytest.mark.parametrize("rows", [90, 8])  # more vectors than numbers, and fewer
def test_pca_equals_scikit_learns(clusters, rows):
    x, _ = clusters
    want = PCA(4, svd_solver="full").fit(x[:rows].astype(float)).transform(x)
    got = mapped(Reduction.fit("pca", x[:rows], width=4), x)
    signs = np.sign((want * got).sum(0))  # each direction may point either way
    np.testing.assert_allclose(got * signs, want, atol=1e-4)


@pytest.mark.parametrize("shrinkage", [None, 0.3, "auto"])
def test_lda_equals_scikit_learns(clusters, shrinkage):
    x, labels = clusters
    solver = "svd" if shrinkage is None else "eigen"
    fitted = LinearDiscriminantAnalysis(solver=solver, shrinkage=shrinkage).fit(x.astype(float), labels)
    want = fitted.transform(x.astype(float))
    got = mapped(Reduction.fit("lda", x, labels, width=2, shrinkage=shrinkage), x)
    np.testing.assert_allclose(got, want - want.mean(0), atol=1e-4)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_mds_keeps_distances_and_places_new_vectors_as_gower_says(clusters, distance):
    x, _ = clusters
    seen, new = x[:40].astype(float), x[40:].astype(float)
    reduction = Reduction.fit("mds", x[:40], width=12, distance=distance)
    if distance == "cosine":
        seen, new = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (seen, new))
    squared = ((seen[:, None] - seen) ** 2).sum(-1)
    points = mapped(reduction, x[:40]).astype(float)
    np.testing.assert_allclose(((points[:, None] - points) ** 2).sum(-1), squared, atol=1e-3, rtol=1e-4)
    want = ClassicalMDS(3).fit_transform(seen)
    signs = np.sign((want * points[:, :3]).sum(0))
    np.testing.assert_allclose(points[:, :3] * signs, want, atol=1e-4)
    # Gower's formula itself, from distances alone.
    from_seen = ((new[:, None] - seen) ** 2).sum(-1)
    centring = np.eye(40) - 1 / 40
    values, vectors = np.linalg.eigh(-0.5 * centring @ squared @ centring)
    values, vectors = values[::-1][:12], vectors[:, ::-1][:, :12]
    placed = 0.5 * (squared.mean(1) - from_seen) @ vectors / np.sqrt(values)
    got = mapped(reduction, x[40:]).astype(float)
    np.testing.assert_allclose(got * np.sign((placed * got).sum(0)), placed, atol=1e-3)


def test_mds_of_euclidean_distances_is_pca_and_of_cosines_is_not(clusters):
    x, _ = clusters
    principal = mapped(Reduction.fit("pca", x, width=2), x)
    euclidean, cosine = (mapped(Reduction.fit("mds", x, distance=d), x) for d in ("euclidean", "cosine"))
    np.testing.assert_allclose(np.abs(euclidean), np.abs(principal), atol=1e-3)
    assert np.abs(np.corrcoef(cosine[:, 0], principal[:, 0])[0, 1]) < 0.99


def test_tokens_are_mapped_as_the_pooled_vector_and_padding_stays_out(features_of):
    features = features_of([5, 2, 3], 6)
    reduction = Reduction.fit("pca", torch.randn(30, 6, generator=torch.Generator().manual_seed(1)), width=3)
    got = reduction(features)
    torch.testing.assert_close(
        got.tokens[1, 1], (features.tokens[1, 1] - reduction.centre) @ reduction.matrix
    )
    garbage = Features(
        torch.where(features.mask[..., None], features.tokens, float("nan")), features.mask, features.pooled
    )
    torch.testing.assert_close(reduction(garbage).tokens, got.tokens)
    assert not got.tokens[~got.mask].any()
    assert Chain(reduction, reduction.__class__(3, 2)).width == 2


def test_it_is_saved_and_loaded_as_any_module(clusters, tmp_path):
    x, labels = clusters
    fitted = Reduction.fit("lda", x, labels, width=2)
    save_file(fitted.state_dict(), tmp_path / "reduction.safetensors")
    empty = Reduction(12, 2)
    with pytest.raises(ValueError, match=r"never fitted: use Reduction\.fit"):
        mapped(empty, x)
    empty.load_state_dict(load_file(tmp_path / "reduction.safetensors"))
    np.testing.assert_array_equal(mapped(empty, x), mapped(fitted, x))
    assert list(fitted.parameters()) == []  # nothing to learn


def test_nonsense_is_refused(clusters):
    x, labels = clusters
    cases = [
        ({"method": "tsne", "features": x}, "method: got 'tsne'; expected one of pca, lda, mds"),
        ({"method": "pca", "features": x, "width": 13}, "width of pca: got 13; expected from 1 to 12"),
        ({"method": "pca", "features": x[:5], "width": 5}, "expected from 1 to 4: 5 vectors of 12"),
        ({"method": "lda", "features": x, "labels": labels, "width": 3}, "expected from 1 to 2: 3 labels differ in"),
        ({"method": "lda", "features": x}, "labels of lda: got none; expected one for each of the 90"),
        ({"method": "lda", "features": x, "labels": ["a"] * 90}, "got 1 different ones for 90 vectors"),
        ({"method": "mds", "features": np.zeros((5_001, 2))}, "got 5001, expected at most 5000"),
        ({"method": "mds", "features": x, "distance": "taxi"}, "distance: got 'taxi'"),
        ({"method": "pca", "features": x[0]}, r"features: got float\[12\]; expected Features, or float\[N, W\]"),
        ({"method": "pca", "features": np.full((90, 12), np.nan)}, "90 of 90 vectors are not finite"),
    ]  # fmt: skip
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            Reduction.fit(**options)
    flat = np.concatenate([x[:, :2], np.zeros((90, 4))], 1)
    with pytest.raises(ValueError, match="these vectors lie in 2 dimensions, got width=3"):
        Reduction.fit("mds", flat, width=3)
    assert (largest("pca", 8, 12), largest("lda", 90, 12, labels)) == (7, 2)
