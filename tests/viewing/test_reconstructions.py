"""Pictures side by side, read back from the PNG."""

import numpy as np
import pytest
from PIL import Image

from sensorium.viewing.reconstructions import CELL, EDGE, GAP, GREY, HEAD, Reconstructions, save, without


def test_every_picture_stands_under_its_heading(tmp_path):
    colours = [(255, 0, 0), (0, 160, 0), (0, 0, 255)]
    rows = [
        {
            name: np.full((8, 8, 3), shade, np.uint8)
            for name, shade in zip(("original", "seen", "made"), order)
        }
        for order in (colours, colours[::-1], colours)
    ]
    dpi = 100
    drawn = np.asarray(
        Image.open(save(tmp_path / "a" / "b.png", Reconstructions("t", rows, "note"), dpi)).convert("RGB")
    )
    block = 3 * (CELL + GAP)
    for n, row in enumerate(rows):
        for place, picture in enumerate(row.values()):
            x = EDGE + (n % 2) * (block + 3 * GAP) + place * (CELL + GAP) + CELL / 2
            y = EDGE + HEAD + (n // 2) * (CELL + GAP) + CELL / 2
            assert drawn[round(dpi * y), round(dpi * x)].tolist() == picture[0, 0].tolist()


def test_hidden_patches_are_grey_and_all_else_as_it_was():
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    seen = without(picture, [2, 3], 2)  # the upper right, the lower left
    assert (seen[:2, 4:] == GREY).all()
    assert (seen[2:, :2] == GREY).all()
    assert (seen == GREY).all(-1).sum() == 8
    assert np.array_equal(seen[:2, :4], picture[:2, :4])
    assert not (picture == GREY).all(-1).any()  # the picture that came in is untouched


def test_rows_need_the_same_headings():
    with pytest.raises(ValueError, match="with the same headings"):
        Reconstructions("t", [{"a": b""}, {"b": b""}])
    with pytest.raises(ValueError, match="expected some"):
        Reconstructions("t", [])
