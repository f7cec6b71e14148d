"""Scene -> what a person would say of it in one line, in English or Chinese.

Scene -> "an owl left of a dog on a green ground" | "绿色背景上，猫头鹰在狗的左边"
"""

from __future__ import annotations

from sensorium.data.scenes.questions import Question, Wording
from sensorium.data.scenes.scene import GROUNDS, Scene
from sensorium.data.scenes.vocabulary import LANGUAGES, Thing

NUMBERS = {"en": ("no", "one", "two", "three", "four"), "zh": ("零", "一", "两", "三", "四")}
BEFORE = {"en": ("left of", "above"), "zh": ("左边", "上面")}  # along x, along y


def caption(scene: Scene, language: str = "en") -> str:
    """One line about a scene. Raises ValueError for an unknown language.

    One thing: its name. Two different ones: which stands left of, or above, which, by the axis on which their
    centres lie further apart. More: how many of what, from left to right. And the ground.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language of a caption: got {language!r}; expected one of {', '.join(LANGUAGES)}")
    ordered = sorted(scene.things, key=lambda placed: placed.centre)
    counts: dict[Thing, int] = {}
    for placed in ordered:
        counts[placed.thing] = counts.get(placed.thing, 0) + 1
    if len(scene.things) == len(counts) == 2:
        first, second = ordered
        gaps = [abs(one - other) for one, other in zip(first.centre, second.centre)]
        axis = int(gaps[1] > gaps[0])
        if axis == 1:
            first, second = sorted(ordered, key=lambda placed: placed.centre[1])
        where = BEFORE[language][axis]
        if language == "zh":
            return f"{GROUNDS[scene.ground][1]}背景上，{first.thing.zh}在{second.thing.zh}的{where}"
        said = f"{first.thing.with_article} {where} {second.thing.with_article}"
    else:
        said = _listed([_counted(thing, many, language) for thing, many in counts.items()], language)
    if language == "zh":
        return f"{GROUNDS[scene.ground][1]}背景上的{said}"
    return f"{said} on a {scene.ground} ground"


def describe(scene: Scene, language: str = "en") -> Question:
    """The caption as the answer to "Describe the picture."; kind "caption"."""
    return Wording(scene, language)("caption", caption(scene, language))


def _counted(thing: Thing, many: int, language: str) -> str:
    if language == "zh":
        return thing.zh if many == 1 else f"{NUMBERS['zh'][many]}个{thing.zh}"
    return thing.with_article if many == 1 else f"{NUMBERS['en'][many]} {thing.plural}"


def _listed(parts: list[str], language: str) -> str:
    """ "a cat, two dogs and an owl"."""
    between, last = ("、", "和") if language == "zh" else (", ", " and ")
    return last.join(part for part in (between.join(parts[:-1]), parts[-1]) if part)
