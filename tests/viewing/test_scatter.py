"""Panels of the same vectors: one a method, one colour a label."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from sensorium.viewing.projection import principal_components
from sensorium.viewing.scatter import COLOURS, OTHER, coloured, projections, save


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32) + np.repeat([0, 4], 30)[:, None]


def test_each_panel_has_all_points_in_the_colours_of_their_labels(vectors: np.ndarray, tmp_path) -> None:
    labels = ["cat"] * 35 + ["dog $x$"] * 25
    figure = projections(vectors, labels, "Vectors", methods=("pca", "lda", "mds"))
    assert [axes.get_title("left") for axes in figure.axes] == ["PCA", "LDA", "MDS"]
    for axes in figure.axes:
        assert [len(dots.get_offsets()) for dots in axes.collections] == [35, 25]
        assert [to_hex(dots.get_facecolor()[0]) for dots in axes.collections] == list(COLOURS[:2])
        assert [dots.get_label() for dots in axes.collections] == ["cat", "dog $x$"]
    shown = np.concatenate([dots.get_offsets() for dots in figure.axes[0].collections])
    inside = np.abs(principal_components(vectors) - shown).max(1) < 1e-5
    assert inside.mean() > 0.9  # the outermost are pulled in
    written = save(tmp_path / "new" / "map.png", vectors, labels, methods=("pca",), dpi=40)
    assert written.read_bytes().startswith(b"\x89PNG")


def test_the_most_frequent_labels_have_colours_and_the_rest_are_grey() -> None:
    names = np.array([f"label {number}" for number in range(9) for _ in range(20 - number)])
    kinds = coloured(names)
    assert [kinds[f"label {number}"] for number in range(9)] == [*COLOURS, OTHER, OTHER]
    vectors = np.random.default_rng(0).normal(size=(len(names), 3))
    figure = projections(vectors, names, methods=("pca",))
    assert figure.axes[0].collections[0].get_label() == "2 more labels"
    assert [text.get_text() for text in figure.legends[0].get_texts()][-2:] == ["label 6", "2 more labels"]


def test_numbers_that_do_not_fit_are_refused(vectors: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"got vectors \[60, 5\] and 3 labels"):
        projections(vectors, ["a", "b", "c"])
