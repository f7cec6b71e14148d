"""Which way of looking finds what an answer was about: the share of its heat on the box of the thing asked for.

    python benchmarks/looking.py --checkpoint weights/smol_llava --scenes 40

Scenes know the box of each thing. Questions: what is this, what is left of / above X, which is the biggest (the box of
the answer), is there an X (where there is one). Blind: the share of the picture that the box covers, which heat that
knows nothing has on it. Printed for right and wrong answers apart: a wrong one need not have looked at the thing.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np

import sensorium
from sensorium.data.scenes import Placed, Question, Scene, Scenes
from sensorium.facade.looking import METHODS, look

KINDS = ("name", "left_of", "above", "biggest", "there")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", default="weights/smol_llava")
    parser.add_argument("--split", default="unseen_artist")
    parser.add_argument("--scenes", type=int, default=40)
    chosen = parser.parse_args()
    assistant = sensorium.load(chosen.checkpoint)
    scenes = Scenes(chosen.split)
    found: dict[tuple[str, bool], list[tuple[float, float]]] = defaultdict(list)
    for number in range(chosen.scenes):
        scene = scenes.scene(number)
        picture = scenes.picture(scene)
        for question in scenes.questions(scene):
            thing = about(scene, question)
            if thing is None:
                continue
            parts = [{"type": "image", "image": picture}, {"type": "text", "text": question.text}]
            messages = [{"role": "user", "content": parts}]
            answer = assistant.chat(messages)
            right = answer.strip().rstrip(".").lower() == question.answer.lower()
            for method in METHODS:
                [seen] = look(assistant, messages, answer, method)
                heat = seen.heat()
                covered = cover(thing, scene.size, heat.shape)
                found[method, right].append(((heat * covered).sum(), covered.ravel()[heat.argmax()]))
            found["blind: the box's area", right].append((covered.mean(), covered.mean()))
    print(f"{'method':24} {'answers':8} {'n':>4} {'share on the thing':>22} {'hottest spot on it':>20}")
    for (method, right), values in sorted(found.items(), key=lambda item: (not item[0][1], item[0][0])):
        shares, top = np.array(values).T
        spread = 1.96 * shares.std(ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else np.nan
        said = f"{shares.mean():.3f} ± {spread:.3f}"
        print(f"{method:24} {'right' if right else 'wrong':8} {len(shares):4} {said:>22} {top.mean():20.3f}")


def about(scene: Scene, question: Question) -> Placed | None:
    """The thing that an answer is about, where the scene has it once."""
    if question.kind not in KINDS or (question.kind == "there" and question.answer != "yes"):
        return None
    name = question.about[0] if question.kind == "there" else question.answer
    there = [placed for placed in scene.things if placed.thing.en == name]
    return there[0] if len(there) == 1 else None


def cover(placed: Placed, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """float[h, w]: how much of each spot the thing's box covers."""
    rows, columns = shape
    x0, y0, x1, y1 = placed.box
    across = np.minimum(x1, (np.arange(columns) + 1) * size / columns)
    across = np.clip(across - np.maximum(x0, np.arange(columns) * size / columns), 0, None) * columns / size
    down = np.minimum(y1, (np.arange(rows) + 1) * size / rows)
    down = np.clip(down - np.maximum(y0, np.arange(rows) * size / rows), 0, None) * rows / size
    return down[:, None] * across[None]


if __name__ == "__main__":
    main()
