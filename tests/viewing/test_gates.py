"""Gates as shares, in order, by label."""

import numpy as np
import pytest

from sensorium.viewing.gates import Gates, draw, save

VALUES = np.array([[3.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
LABELS = ["sad", "glad", "sad", "glad"]


def test_shares_are_of_each_row_and_none_of_an_empty_one() -> None:
    assert Gates("gated", ("text", "audio"), VALUES, LABELS).shares.tolist() == [
        [0.75, 0.25],
        [0.0, 0.0],
        [0.5, 0.5],
        [0.0, 1.0],
    ]


def test_rows_lie_by_label_then_by_the_first_column() -> None:
    gates = Gates("gated", ("text", "audio"), VALUES[::-1], LABELS)
    assert [LABELS[n] for n in gates.order()] == ["glad", "glad", "sad", "sad"]
    assert (np.diff(gates.shares[gates.order()][:2, 0]) <= 0).all()


def test_means_by_label() -> None:
    means = Gates("gated", ("text", "audio"), VALUES, LABELS).by_label()
    assert list(means) == ["glad", "sad"]
    assert means["sad"].tolist() == [0.625, 0.375]


def test_drawn_bars_are_the_shares(tmp_path) -> None:
    pictures = [np.zeros((8, 8, 3), np.uint8), None, np.zeros((4, 8, 3), np.uint8), None]
    gates = Gates("gated", ("text", "audio"), VALUES, LABELS, pictures)
    rows = draw(gates).axes[0]
    widths = np.array([bar.get_width() for bar in rows.patches]).reshape(4, 2)
    assert widths == pytest.approx(gates.shares[gates.order()])
    assert save(tmp_path / "gates.png", gates, dpi=40).read_bytes().startswith(b"\x89PNG")
    assert "mean by label" in save(tmp_path / "gates.svg", gates).read_text()


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match="rows by 3 columns"):
        Gates("gated", ("a", "b", "c"), VALUES, LABELS)
    with pytest.raises(ValueError, match="labels: got 1 for 4 rows"):
        Gates("gated", ("a", "b"), VALUES, ["sad"])
    with pytest.raises(ValueError, match="pictures: got 1 for 4 rows"):
        Gates("gated", ("a", "b"), VALUES, LABELS, [None])
