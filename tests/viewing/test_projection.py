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
    with pytest.raises(ValueError, match="expected one of auto, pca, lda, mds, umap"):
        project(vectors, "tsne")
    assert project(vectors, "pca")[1] == "PCA"
    assert project(vectors[:5])[1] == "PCA"  # too few for neighbourhoods
    if importlib.util.find_spec("umap") is None:
        with pytest.raises(ValueError, match="pip install umap-learn"):
            project(vectors, "umap")
        assert project(vectors)[1] == "PCA"


def groups(random: np.random.Generator, kinds: str, dimensions: int) -> tuple[np.ndarray, list[str]]:
    """Thirty vectors a kind, far apart in one direction that varies least, and their kinds."""
    labels = [kind for kind in kinds for _ in range(30)]
    vectors = random.normal(size=(len(labels), dimensions)) * [10.0] * dimensions
    vectors[:, 0] = random.normal(size=len(labels)) * 0.1 + [kinds.index(label) for label in labels]
    return vectors, labels


@pytest.mark.parametrize("dimensions", [5, 200])
def test_lda_spreads_the_groups_that_pca_does_not_see(dimensions: int) -> None:
    vectors, labels = groups(np.random.default_rng(0), "ab", dimensions)
    first, second = np.array(labels) == "a", np.array(labels) == "b"
    points, name = project(vectors, "lda", labels=labels)
    assert (name, points.shape) == ("LDA", (60, 2))
    low, high = sorted([points[first, 0], points[second, 0]], key=np.mean)
    assert low.max() < high.min()
    principal = project(vectors, "pca")[0]
    assert principal[first, 0].max() > principal[second, 0].min()
    assert abs(np.corrcoef(points.T)[0, 1]) < 0.2  # the second coordinate is of what the first leaves


def test_lda_of_three_groups_equals_scikit_learns() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    vectors, labels = groups(np.random.default_rng(1), "abc", 4)
    fitted = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(vectors, labels)
    points = project(vectors, "lda", labels=labels)[0]
    want = fitted.transform(vectors - vectors.mean(0))
    assert points * np.sign((points * want).sum(0)) == pytest.approx(want, abs=1e-4)


def test_lda_needs_labels() -> None:
    vectors = np.eye(6)
    with pytest.raises(ValueError, match="got none labels for 6 vectors"):
        project(vectors, "lda")
    with pytest.raises(ValueError, match="got 1 different labels for 6 vectors"):
        project(vectors, "lda", labels=["a"] * 6)


def test_mds_keeps_the_distances_that_fit_in_a_plane() -> None:
    angles = np.linspace(0, 1.2, 25)
    circle = (
        np.stack([np.cos(angles), np.sin(angles)], 1) * np.linspace(1, 5, 25)[:, None]
    )  # lengths do not count
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 2)))
    points, name = project(circle @ basis.T, "mds")
    chords = 2 * np.sin(np.abs(angles[:, None] - angles) / 2)
    assert name == "MDS"
    assert np.linalg.norm(points[:, None] - points, axis=2) == pytest.approx(chords, abs=1e-3)


def test_mds_fits_distances_better_than_components_do() -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 20))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def between(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points[:, None] - points, axis=2)

    wanted = between(unit)
    stress = {
        "mds": ((between(project(vectors, "mds")[0]) - wanted) ** 2).sum(),
        "pca": ((between(principal_components(unit)) - wanted) ** 2).sum(),
    }
    assert stress["mds"] < 0.5 * stress["pca"]
    with pytest.raises(ValueError, match="got 2001 vectors; expected from 2 to 2000"):
        project(np.ones((2001, 3)), "mds")
