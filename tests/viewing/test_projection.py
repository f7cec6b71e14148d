import importlib.util

import numpy as np
import pytest

from sensorium.viewing.projection import principal_components, project


def test_components_are_the_two_directions_of_largest_variance() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(200, 2)) * [5.0, 2.0]
    basis, _ = np.linalg.qr(rng.normal(size=(12, 2)))
    points = principal_components(plane @ basis.T + 7.0)
    between = np.linalg.norm(plane[:50, None] - plane[None, :50], axis=2)
    assert np.linalg.norm(points[:50, None] - points[None, :50], axis=2) == pytest.approx(between, abs=1e-6)
    assert points.var(0)[0] > points.var(0)[1]
    assert (points.max(0) == np.abs(points).max(0)).all()


def test_vectors_of_one_number_lie_on_a_line() -> None:
    assert principal_components(np.array([[1.0], [3.0]])) == pytest.approx(
        np.array([[1.0, 0.0], [-1.0, 0.0]])
    )


def test_methods_that_are_unknown_or_not_installed_are_named() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 5))
    with pytest.raises(ValueError, match="expected one of auto, pca, umap"):
        project(vectors, "tsne")
    assert project(vectors, "pca")[1] == "PCA"
    assert project(vectors[:5])[1] == "PCA"  # too few for neighbourhoods
    if importlib.util.find_spec("umap") is None:
        with pytest.raises(ValueError, match="pip install umap-learn"):
            project(vectors, "umap")
        assert project(vectors)[1] == "PCA"
