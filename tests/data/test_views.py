import numpy as np
import pytest
import torch

from sensorium.data.views import RandomView
from sensorium.features import Features


class Cached:
    """What `RandomView` reads of `CachedFeatures`: row i of view v is the vector [v, i]."""

    what, modality, width = "pooled", "image", 2

    def __init__(self, view: int, ids: str) -> None:
        self.view, self.rows = view, {id: row for row, id in enumerate(ids)}

    def row(self, id: str):
        return self.rows.get(id)

    def __getitem__(self, rows) -> Features:
        return Features.from_pooled(torch.tensor([[float(self.view), float(row)] for row in rows]))


def test_each_row_comes_from_one_view_that_has_it():
    views = RandomView([Cached(0, "abc"), Cached(1, "bc")])
    torch.manual_seed(0)
    drawn = [views.row("c") for _ in range(200)]
    assert set(drawn) == {(0, 2), (1, 1)}
    assert 60 < sum(view for view, _ in drawn) < 140
    assert {views.row("a") for _ in range(20)} == {(0, 0)}
    assert views.row("z") is None
    assert views[[(1, 1), (0, 0), (1, 0)]].pooled.tolist() == [[1, 1], [0, 0], [1, 0]]


def test_the_draw_follows_the_global_seed():
    views = RandomView([Cached(0, "ab"), Cached(1, "ab")])
    twice = []
    for _ in range(2):
        torch.manual_seed(5)
        twice.append(np.array([views.row("a") for _ in range(20)]))
    assert (twice[0] == twice[1]).all()


def test_views_of_different_widths_are_refused():
    wide = Cached(1, "a")
    wide.width = 3
    with pytest.raises(ValueError, match="one width"):
        RandomView([Cached(0, "a"), wide])
