import numpy as np
import pytest
from PIL import Image

from sensorium.media import Audio
from sensorium.viewing import figure
from sensorium.viewing.figure import CELL, EDGE, GAP, QUERY
from sensorium.viewing.gallery import Search, Shown

DPI = 100


def colour(*rgb: int) -> np.ndarray:
    return np.full((30, 30, 3), rgb, np.uint8)


def test_answers_stand_in_their_order_beside_their_query(tmp_path) -> None:
    colours = [(220, 20, 20), (20, 200, 20), (20, 20, 220)]
    answers = [Shown(f"${n} <b>", colour(*rgb), right=n == 1) for n, rgb in enumerate(colours)]
    tone = Audio(np.sin(np.arange(3000) / 5).astype(np.float32), 16000)
    searches = [Search(Shown("a $query_"), answers), Search(Shown("heard", sound=tone), answers[::-1])]
    path = figure.save(tmp_path / "docs" / "search.png", searches, top=3, dpi=DPI)
    with Image.open(path) as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    row = CELL + figure.CAPTION + GAP

    def centre(search: int, place: int) -> list[int]:
        x = EDGE + QUERY + place * (CELL + GAP) + GAP + CELL / 2
        y = EDGE + search * row + CELL / 2
        return pixels[round(y * DPI), round(x * DPI)].tolist()

    assert [centre(0, place) for place in range(3)] == [list(rgb) for rgb in colours]
    assert [centre(1, place) for place in range(3)] == [list(rgb) for rgb in colours[::-1]]
    frame_x = round((EDGE + QUERY + CELL + GAP + GAP) * DPI)  # left edge of the right answer
    frame = pixels[round((EDGE + CELL / 2) * DPI), frame_x - 3 : frame_x + 4]
    assert np.abs(frame - [0, 158, 115]).sum(1).min() < 30


def test_at_least_one_search_is_needed(tmp_path) -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        figure.save(tmp_path / "x.png", [])
