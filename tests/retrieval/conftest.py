from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).with_name("colour_model.py")


@pytest.fixture(scope="session")
def made() -> SimpleNamespace:
    """The names of colour_model.py: ColourModel, COLOURS, picture, tone; and `script`, its path."""
    return SimpleNamespace(**runpy.run_path(str(SCRIPT)), script=SCRIPT)


@pytest.fixture
def model(made):
    return made.ColourModel()


@pytest.fixture
def gallery(tmp_path: Path, made) -> Path:
    """Six pictures in two sub-folders, one with a caption beside it, two tones, a text, and other files."""
    folder = tmp_path / "media"
    for n, colour in enumerate(made.COLOURS):
        made.picture(folder / ("warm" if n < 3 else "cold") / f"{colour}.png", colour)
    (folder / "warm" / "red.txt").write_text("a very red square\n")
    made.tone(folder / "low.wav", 250)
    made.tone(folder / "high.wav", 950)
    (folder / "poem.txt").write_text("Green, how I want you green")
    (folder / "notes.docx").write_bytes(b"not media")
    made.picture(folder / ".hidden" / "secret.png", "red", speck=7)
    return folder
