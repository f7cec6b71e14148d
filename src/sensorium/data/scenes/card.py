"""The measured part of docs/scenes.md: the tables of balance and the sheet of examples.

python -m sensorium.data.scenes.card docs      writes docs/scenes.png and the tables in docs/scenes.md anew
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sensorium.data.scenes.balance import blind, by_kind, majority, names_only
from sensorium.data.scenes.captions import caption
from sensorium.data.scenes.composing import SPLITS, Scenes
from sensorium.data.scenes.drawing import Drawings
from sensorium.data.scenes.motion import MovingScenes
from sensorium.data.scenes.questions import KINDS, Question
from sensorium.data.scenes.scene import Scene
from sensorium.data.scenes.sensing import path, plans

BEGIN, END = "<!-- balance: begin (python -m sensorium.data.scenes.card docs) -->", "<!-- balance: end -->"
TRAIN, TEST = 2500, 2000  # scenes from which blind guessing is learned, and on which it is scored
COLUMNS, TILE, WORDS = 6, 224, 34  # of the sheet: tiles in a row, pixels of a tile, pixels of text below it


_DRAWINGS = Drawings()  # shared by all streams here


def asked(split: str, scenes: int) -> list[Question]:
    """The questions about the first still and the first moving scenes of a split.

    `ground`, `there` and `how_many` are taken from the still ones only.
    """
    still, moving = Scenes(split, drawings=_DRAWINGS), MovingScenes(split, drawings=_DRAWINGS)
    found: list[Question] = []
    for i in range(scenes):
        scene = still.scene(i)
        found += still.questions(scene) + plans(scene)
    known = {question.kind for question in found}
    for i in range(scenes):
        found += [question for question in moving.questions(moving.scene(i)) if question.kind not in known]
    return found


def first_table() -> str:
    """Markdown: what guessing gets on the unseen artist."""
    train, test = asked("train", TRAIN), asked("unseen_artist", TEST)
    constant, reading, names = majority(test), blind(train, test), names_only(test)
    lines = [
        "| kind | questions a scene | answers | majority | from the text | names only |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    questions = by_kind(test)
    for kind in KINDS:
        answers = {question.answer for question in questions[kind]}
        guess = _percent(names[kind]) if kind in names else ""
        lines.append(
            f"| `{kind}` | {len(questions[kind]) / TEST:.2f} | {len(answers)} | {_percent(constant[kind])} | "
            f"{_percent(reading[kind])} | {guess} |"
        )
    return "\n".join(lines)


def second_table() -> str:
    """Markdown: majority and from the text, on the other test splits."""
    train = asked("train", TRAIN)
    splits = [split for split in SPLITS if split not in ("train", "unseen_artist")]
    tests = [asked(split, TEST) for split in splits]
    pairs = [(majority(test), blind(train, test)) for test in tests]
    lines = [
        f"| majority / from the text | {' | '.join(f'`{split}`' for split in splits)} |",
        "| --- |" + " ---: |" * len(splits),
    ]
    for kind in KINDS:
        cells = [
            f"{_percent(constant[kind])} / {_percent(reading[kind])}" if kind in constant else "not asked"
            for constant, reading in pairs
        ]
        lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def sheet() -> np.ndarray:
    """uint8[H, W, 3]: a row of scenes a split, a row of boxes and masks, a row of paths, two rows of video."""
    rows = []
    for split in SPLITS:
        stream = Scenes(split, drawings=_DRAWINGS)
        tiles = []
        for i in range(COLUMNS):
            scene = stream.scene(i)
            question = stream.questions(scene)[-1]
            tiles.append(_tile(stream.picture(scene), f"{question.text} {question.answer}"))
        rows.append(_row(f"{split}", tiles))
    train = Scenes("train", drawings=_DRAWINGS)
    some = [scene for scene in map(train.scene, range(60)) if len(scene.things) > 2][:COLUMNS]
    rows.append(_row("boxes, masks and captions", [_tile(_marked(train, s), caption(s)) for s in some]))
    crossed = [scene for scene in map(train.scene, range(60)) if path(scene)][:COLUMNS]
    tiles = [_tile(_with_path(train, scene), f"clear_path: {plans(scene)[0].answer}") for scene in crossed]
    rows.append(
        _row("paths (the ring is the robot, the dot the goal; drawn here, given in the state only)", tiles)
    )
    moving = MovingScenes("train", frames=COLUMNS, drawings=_DRAWINGS)
    for i in range(2):
        scene = moving.scene(i)
        asked_of_it = moving.questions(scene)[-1]
        video = moving.video(scene)
        tiles = [_tile(frame, f"{time:.1f} s") for frame, time in zip(video.frames, video.times)]
        rows.append(_row(f"moving: {asked_of_it.text} {asked_of_it.answer}", tiles))
    return np.concatenate(rows)


def write(folder: Path) -> None:
    """Writes scenes.png and the tables between the markers of scenes.md in a folder."""
    Image.fromarray(sheet()).quantize(256, dither=Image.Dither.NONE).save(
        folder / "scenes.png", optimize=True
    )
    page = folder / "scenes.md"
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    page.write_text(
        f"{before}{BEGIN}\n{first_table()}\n\n{second_table()}\n{END}{rest.split(END)[1]}", encoding="utf-8"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _row(title: str, tiles: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((tiles[0].shape[0], 6, 3), 255, np.uint8)
    spaced = np.concatenate([part for tile in tiles for part in (tile, gap)], axis=1)
    return np.concatenate([_text(title, spaced.shape[1], 24, 16), spaced])


def _tile(picture: np.ndarray, words: str) -> np.ndarray:
    return np.concatenate([picture, _text(words, TILE, WORDS, 11)])


def _text(words: str, width: int, height: int, size: int) -> np.ndarray:
    """Words in black on white, broken into two lines where one is too narrow."""
    font = ImageFont.load_default(size)
    strip = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(strip)
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    draw.multiline_text((1, 3), "\n".join(lines), fill="black", font=font, spacing=2)
    return np.array(strip)


def _marked(stream: Scenes, scene: Scene) -> np.ndarray:
    """Boxes in white; what lies outside of the masks in grey."""
    picture = stream.picture(scene)
    outside = ~stream.masks(scene).any(axis=0)
    picture[outside] = picture[outside] // 3 + 60
    shown = Image.fromarray(picture)
    draw = ImageDraw.Draw(shown)
    for placed in scene.things:
        x0, y0, x1, y1 = placed.box
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline="white")
    return np.array(shown)


def _with_path(stream: Scenes, scene: Scene) -> np.ndarray:
    shown = Image.fromarray(stream.picture(scene))
    task = path(scene)
    assert task is not None
    (robot, goal), _ = task
    draw = ImageDraw.Draw(shown)
    draw.line([robot, goal], fill="white", width=2)
    draw.ellipse([robot[0] - 6, robot[1] - 6, robot[0] + 6, robot[1] + 6], outline="black", width=3)
    draw.ellipse([goal[0] - 5, goal[1] - 5, goal[0] + 5, goal[1] + 5], fill="black")
    return np.array(shown)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
