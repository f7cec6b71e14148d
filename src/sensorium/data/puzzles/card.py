"""The measured part of docs/puzzles.md: the table of bounds and the sheet of examples.

python -m sensorium.data.puzzles.card docs      writes docs/puzzles.png and the table in docs/puzzles.md anew
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sensorium.data.puzzles import PUZZLES
from sensorium.data.sample import Sample
from sensorium.media import Audio, Source, Video, image
from sensorium.tasks import Box

BEGIN, END = "<!-- bounds: begin (python -m sensorium.data.puzzles.card docs) -->", "<!-- bounds: end -->"
TILES, TILE, WORDS = 6, 176, 62  # of the sheet: tiles in a row, pixels of a tile, pixels of text below it
WAVE = 40  # pixels of a sound's wave


def table() -> str:
    """Markdown: what each puzzle asks, of which columns, and what one column is worth."""
    lines = [
        "| puzzle | columns | main score | a column alone at best | all of them |",
        "| --- | --- | --- | --- | ---: |",
    ]
    for puzzle in PUZZLES.values():
        alone = ", ".join(f"{column} {100 * share:.1f}" for column, share in puzzle.alone.items())
        lines.append(
            f"| `{puzzle.name}` | {', '.join(puzzle.modality)} | {puzzle.tasks[0].name}.{puzzle.metric} | "
            f"{alone} | 100 |"
        )
    return "\n".join(lines)


def sheet() -> np.ndarray:
    """uint8[H, W, 3]: a row of test examples a puzzle, all columns and the answer of each."""
    rows = []
    for puzzle in PUZZLES.values():
        samples = puzzle.samples("test", TILES)
        tiles = [_tile(sample, puzzle.tasks[0].field, isinstance(puzzle.tasks[0], Box)) for sample in samples]
        height = max(len(tile) for tile in tiles)
        padded = [np.pad(t, ((0, height - len(t)), (0, 6), (0, 0)), constant_values=255) for t in tiles]
        row = np.concatenate(padded, axis=1)
        rows += [_text(f"{puzzle.name}: {puzzle.about}", row.shape[1], 24, 14), row]
    return np.concatenate(rows)


def write(folder: Path) -> None:
    """Writes puzzles.png and the table between the markers of puzzles.md in a folder."""
    Image.fromarray(sheet()).quantize(256, dither=Image.Dither.NONE).save(
        folder / "puzzles.png", optimize=True
    )
    page = folder / "puzzles.md"
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def _tile(sample: Sample, field: str, boxed: bool) -> np.ndarray:
    """Its picture or frames, the wave of its sound, its text and its answer, one below the other."""
    answer = sample.fields[field]
    said = "the box marked" if boxed else ", ".join(answer) if isinstance(answer, list) else str(answer)
    seen, heard, words = [], [], []
    for media in sample.columns.values():
        one = media.decode() if isinstance(media, Source) else media
        if isinstance(one, Video):
            seen.append(_frames(one))
        elif isinstance(one, Audio):
            heard.append(_wave(one))
        elif isinstance(one, str):
            words.append(f"\N{LEFT DOUBLE QUOTATION MARK}{one}\N{RIGHT DOUBLE QUOTATION MARK}")
        elif isinstance(one, np.ndarray):
            fitted = _fitted(one)
            seen.append(_marked(fitted, answer) if boxed else fitted)
    said_below = _text("\n".join([*words, f"= {said}"]), TILE, WORDS, 11)
    return np.concatenate([*seen, *heard, said_below])


def _fitted(picture: np.ndarray) -> np.ndarray:
    """On a white tile, its longer side that of the tile."""
    height, width = (round(side * TILE / max(picture.shape)) for side in picture.shape[:2])
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    tile[:height, :width] = image.resize(picture, height=height, width=width)
    return tile


def _frames(video: Video) -> np.ndarray:
    """Four frames in two rows, as one reads."""
    half = TILE // 2 - 1
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    for place, frame in enumerate(video.frames[:4]):
        y, x = ((half + 2) * part for part in divmod(place, 2))
        tile[y : y + half, x : x + half] = image.resize(frame, height=half, width=half)
    return tile


def _wave(audio: Audio) -> np.ndarray:
    """The loudest of each of TILE pieces, in black on white: two seconds are as wide as the tile."""
    wanted = 2 * audio.rate
    samples = np.pad(audio.samples[:wanted], (0, max(0, wanted - len(audio.samples))))
    peaks = np.abs(np.resize(samples, (TILE, wanted // TILE))).max(axis=1)
    rows = np.abs(np.arange(WAVE) - WAVE / 2 + 0.5)[:, None]
    inked = rows <= np.maximum(peaks * WAVE / 2, 0.5)
    return np.repeat(np.where(inked, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _marked(tile: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    cx, cy, w, h = (TILE * share for share in box)
    shown = Image.fromarray(tile)
    frame = (cx - w / 2, cy - h / 2, cx + w / 2 - 1, cy + h / 2 - 1)
    ImageDraw.Draw(shown).rectangle(frame, outline="white", width=3)
    return np.array(shown)


def _text(words: str, width: int, height: int, size: int) -> np.ndarray:
    """Words in black on white, broken where a line is too narrow."""
    font = ImageFont.load_default(size)
    strip = Image.new("RGB", (width, height), "white")
    lines = []
    for line in words.split("\n"):
        lines.append("")
        for word in line.split():
            longer = f"{lines[-1]} {word}".strip()
            if font.getlength(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
    ImageDraw.Draw(strip).multiline_text((1, 3), "\n".join(lines), fill="black", font=font, spacing=2)
    return np.array(strip)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
