import numpy as np
import pytest
from PIL import Image

import likeness


def square(colour: tuple[int, int, int], side: int = 48) -> Image.Image:
    return Image.new("RGBA", (side, side), (*colour, 255))


def test_distance_of_two_full_squares_is_that_of_their_colours():
    red, blue = likeness.signatures([square((255, 0, 0))]), likeness.signatures([square((0, 0, 255))])
    # Two of three colours differ by 1, the alpha (which counts as three) by nothing: sqrt(2 / 6).
    ((i, j, distance),) = likeness.near(red, blue, 1.0)
    assert (i, j) == (0, 0)
    assert distance == pytest.approx(np.sqrt(2 / 6), rel=1e-6)


def test_size_of_the_file_does_not_count_but_hidden_colours_are_hidden():
    shown = square((10, 200, 30))
    hidden = Image.new("RGBA", (96, 96), (255, 0, 255, 0))
    hidden.paste(shown, (24, 24))
    bare = Image.new("RGBA", (96, 96), (0, 0, 0, 0))
    bare.paste(shown, (24, 24))
    assert likeness.near_pairs([shown, square((10, 200, 30), 96)], 0.01, mirrored=False) == [(0, 1, 0.0)]
    assert likeness.near_pairs([hidden, bare], 0.01, mirrored=False) == [(0, 1, 0.0)]


def test_a_mirror_finds_what_is_turned():
    left = Image.new("RGBA", (48, 48), (0, 0, 0, 0))
    left.paste((0, 0, 0, 255), (0, 0, 12, 48))
    right = left.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert likeness.near_pairs([left, right], 0.08, mirrored=False) == []
    assert likeness.near_pairs([left, right], 0.08, mirrored=True) == [(0, 1, 0.0)]


def test_thin_things_are_not_all_alike():
    def line(row: int) -> Image.Image:
        picture = Image.new("RGBA", (96, 96), (0, 0, 0, 0))
        picture.paste((0, 0, 0, 255), (0, row, 96, row + 4))
        return picture

    # One row in 24 each, nowhere the same: (2 · (0.5² · 3 + 3)) / 6 over the covered part is 1.25.
    (pair,) = likeness.near_pairs([line(0), line(48)], 2.0, mirrored=False)
    assert pair[2] == pytest.approx(np.sqrt(1.25), rel=1e-6)
