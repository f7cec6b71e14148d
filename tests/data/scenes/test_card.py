from pathlib import Path

import numpy as np
from PIL import Image

from sensorium.data.scenes import STATE, Scenes, card
from sensorium.data.scenes.questions import KINDS

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_prints_the_numbers_that_come_out_now():
    page = (DOCS / "scenes.md").read_text(encoding="utf-8")
    measured = page.split(card.BEGIN)[1].split(card.END)[0]
    assert card.first_table() in measured
    assert all(measured.count(f"| `{kind}` |") == 2 for kind in KINDS)
    assert f"{len(STATE)} numbers" in page


def test_the_sheet_begins_with_the_first_scene():
    drawn = np.asarray(Image.open(DOCS / "scenes.png").convert("RGB")).astype(int)
    stream = Scenes("train")
    first = stream.picture(stream.scene(0)).astype(int)
    tile = drawn[24 : 24 + card.TILE, : card.TILE]
    assert np.abs(tile - first).mean() < 2  # 256 colours
