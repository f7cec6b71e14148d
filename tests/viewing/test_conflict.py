"""Cosines of gradients read from a run's records, averaged by hand, and drawn."""

import json

import numpy as np
import pytest
from PIL import Image

from sensorium.viewing.conflict import cosines, matrix, save

RECORDS = [
    {"step": 1, "loss": 1.0, "cosine/mood|strength": 0.5, "cosine/mood|place": -1.0},
    {"step": 2, "loss": 1.0, "cosine/mood|strength": -0.1},
    {"step": 2, "scores": {}},
    {"step": 3, "loss": 1.0, "cosine/mood|strength": 0.2, "cosine/mood|place": -0.5},
]


def test_pairs_are_read_step_by_step():
    steps, found = cosines(RECORDS)
    assert steps.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(found["mood", "place"], [-1.0, np.nan, -0.5])


def test_means_are_over_the_steps_that_had_both():
    _, found = cosines(RECORDS)
    expected = [[1, 0.2, -0.75], [0.2, 1, np.nan], [-0.75, np.nan, 1]]
    np.testing.assert_allclose(matrix(["mood", "strength", "place"], found), expected)


def test_the_figure_shows_agreement_in_blue_and_conflict_in_red(tmp_path):
    file = tmp_path / "history.jsonl"

    def drawn(value: float) -> tuple[int, ...]:
        file.write_text("".join(json.dumps({"step": n, "cosine/a|b": value}) + "\n" for n in range(5)))
        picture = np.asarray(Image.open(save(tmp_path / "new" / "conflict.png", file)).convert("RGB")).astype(
            int
        )
        half = picture[:, : picture.shape[1] // 3].reshape(-1, 3)
        return (half[:, 0] - half[:, 2]).max(), (half[:, 2] - half[:, 0]).max()

    reddest, _ = drawn(-0.9)
    assert reddest > 80
    reddest, bluest = drawn(0.9)
    assert reddest < 40
    assert bluest > 50


def test_a_run_without_cosines_says_how_to_get_them():
    with pytest.raises(ValueError, match="conflict='watch'"):
        cosines([{"step": 1, "loss": 2.0}])
