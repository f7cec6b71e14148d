from pathlib import Path

import numpy as np
from PIL import Image

from sensorium.data.puzzles import PUZZLES, card, puzzle
from sensorium.media import Audio

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_prints_the_bounds_that_hold_now():
    page = (DOCS / "puzzles.md").read_text(encoding="utf-8")
    measured = page.split(card.BEGIN)[1].split(card.END)[0]
    assert measured.strip() == card.table()
    assert all(f"- **`{name}`**" in page for name in PUZZLES)


def test_the_sheet_begins_with_the_first_face():
    drawn = np.asarray(Image.open(DOCS / "puzzles.png").convert("RGB")).astype(int)
    [first] = puzzle("sentiment").samples("test", 1)
    face = card._fitted(first.columns["image"].decode()).astype(int)
    tile = drawn[24 : 24 + card.TILE, : card.TILE]
    assert np.abs(tile - face).mean() < 3  # 256 colours


def test_a_wave_is_as_high_as_the_sound_is_loud():
    silent, full = (card._wave(Audio(np.full(16_000, level, np.float32), 16_000)) for level in (0, 1))
    assert (full[:, : card.TILE // 2 - 1] == 0).all()  # one second is half of the tile
    assert (silent == 0).sum(axis=0).max() == 2  # the line in the middle
