"""Scene -> questions that have exactly one right answer, so drawn that guessing without looking stays near chance.

ground      what colour is the ground?      one of six, uniform
there       is there a X?                   yes or no by a coin; X is in the scene, or any thing that could be
how_many    how many things are there?      1 to 4, uniform
name        what is this?                   scenes of one thing
left_of     what is left of the X?          when exactly one thing is, the others being to the right
above       what is above the X?            the same from top to bottom
how_many_x  how many Xs are there?          0 to 3
biggest     which thing is the biggest?     when one is by a quarter
is_left     is the X left of the Y?         yes or no by a coin
is_above    is the X above the Y?           yes or no by a coin
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sensorium.data.scenes.scene import GROUNDS, Placed, Scene
from sensorium.data.scenes.vocabulary import LANGUAGES, Thing

STILL_KINDS = (
    "ground",
    "there",
    "how_many",
    "name",
    "left_of",
    "above",
    "how_many_x",
    "biggest",
    "is_left",
    "is_above",
)
"""Kinds of question about a still scene."""
MOTION_KINDS = ("moves", "direction", "faster")
"""Kinds that need several frames (motion.py)."""
STATE_KINDS = ("clear_path",)
"""Kinds that need the picture and the state (sensing.py)."""
KINDS = (*STILL_KINDS, *MOTION_KINDS, *STATE_KINDS)

TEMPLATES = {
    "en": {
        "ground": "What colour is the ground?",
        "there": "Is there {a_x}?",
        "how_many": "How many things are there?",
        "name": "What is this?",
        "left_of": "What is left of the {x}?",
        "above": "What is above the {x}?",
        "how_many_x": "How many {xs} are there?",
        "biggest": "Which thing is the biggest?",
        "is_left": "Is the {x} left of the {y}?",
        "is_above": "Is the {x} above the {y}?",
        "moves": "Which thing moves?",
        "direction": "Which way does the {x} move?",
        "faster": "Which moves faster, the {x} or the {y}?",
        "clear_path": "Which thing do I move to clear the path from the robot to the goal?",
        "caption": "Describe the picture.",
    },
    "zh": {
        "ground": "背景是什么颜色？",
        "there": "图中有{x}吗？",
        "how_many": "图中一共有几个东西？",
        "name": "这是什么？",
        "left_of": "{x}的左边是什么？",
        "above": "{x}的上面是什么？",
        "how_many_x": "图中有几个{x}？",
        "biggest": "哪个东西最大？",
        "is_left": "{x}在{y}的左边吗？",
        "is_above": "{x}在{y}的上面吗？",
        "moves": "哪个东西在移动？",
        "direction": "{x}往哪个方向移动？",
        "faster": "{x}和{y}，哪个移动得更快？",
        "clear_path": "要让机器人到达目标，应该移开哪个东西？",
        "caption": "请描述这张图。",
    },
}
YES_NO = {"en": ("no", "yes"), "zh": ("没有", "有")}
IS_NOT = {"en": ("no", "yes"), "zh": ("不是", "是")}

CLEARLY = 28 / 224  # how far apart two centres must lie to be called left of or above, as a share of the side
BARELY = 10 / 224  # how far behind X the others must lie when one thing is said to be before it
BIGGER = 1.25  # the biggest over every other, in the longer side and in the area of the box
# How often things are counted, by how many the scene has of its most frequent thing: then two questions, one about
# that thing and the other about one that is there once or not at all. So who sees what repeats, but not what it is,
# is right half of the time, and the four answers come out near a quarter each (balance.py).
COUNTED = {3: 1.0, 2: 0.72, 1: 0.02}
SINGLE = 0.95  # how often the other one is there once, where the scene has such a thing


@dataclass(frozen=True)
class Question:
    """One question with its one right answer.

    about:      the English names of the things that the text speaks of, in order
    candidates: how many different answers a perfect namer who is blind to place and size is left with (the names in
                the scene without those in the question); 0 where names alone do not help
    """

    kind: str
    text: str
    answer: str
    language: str = "en"
    about: tuple[str, ...] = ()
    candidates: int = 0


def ask(
    scene: Scene, absent: Sequence[Thing], language: str = "en", single: float = SINGLE
) -> list[Question]:
    """Every kind that the scene allows, two of `there`.

    absent: what may be asked for though it is not there
    single: how often the second thing counted is one that is there once, where there is one
    The same things are asked in every language. Raises ValueError for an unknown language.
    """
    return list(_ask(scene, absent, Wording(scene, language), single))


@dataclass(frozen=True)
class Wording:
    """Puts names into the templates of a language: (kind, answer, about) -> Question.

    places: the question is about places or motion, so that names alone leave `candidates` to guess among
    Raises ValueError for an unknown language.
    """

    scene: Scene
    language: str

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            expected = ", ".join(LANGUAGES)
            raise ValueError(f"language of questions: got {self.language!r}; expected one of {expected}")

    def __call__(
        self, kind: str, answer: str | Thing, about: Sequence[Thing] = (), places: bool = False
    ) -> Question:
        names = [thing.name(self.language) for thing in about]
        slots = dict(zip("xy", names))
        if about:
            slots |= {"a_x": about[0].with_article, "xs": about[0].plural}
        text = TEMPLATES[self.language][kind].format(**slots)
        said = answer.name(self.language) if isinstance(answer, Thing) else answer
        spoken_of = tuple(thing.en for thing in about)
        candidates = len(set(self.scene.names) - set(spoken_of)) if places else 0
        return Question(kind, text, said, self.language, spoken_of, candidates)


def _ask(scene: Scene, absent: Sequence[Thing], word: Wording, single: float) -> Iterator[Question]:
    draw = random.Random(f"questions/{scene.id}")
    yield from overall(draw, scene, absent, word)
    shown = [placed.thing for placed in scene.things]
    if len(shown) == 1:
        yield word("name", shown[0])
    yield from _counts(draw, shown, absent, word, single)
    if len(set(shown)) > 1:
        yield from _places(draw, scene, word)
        yield from _sizes(scene, word)


def overall(draw: random.Random, scene: Scene, absent: Sequence[Thing], word: Wording) -> Iterator[Question]:
    """`ground`, `there` twice, `how_many`: what can be asked of any scene, whatever moves in it."""
    ground = scene.ground if word.language == "en" else GROUNDS[scene.ground][1]
    yield word("ground", ground)
    shown = [placed.thing for placed in scene.things]
    for _ in range(2):
        there = draw.random() < 0.5
        asked = draw.choice(sorted(set(shown), key=shown.index) if there else absent)
        yield word("there", YES_NO[word.language][there], [asked])
    yield word("how_many", str(len(shown)))


def _counts(
    draw: random.Random, shown: list[Thing], absent: Sequence[Thing], word: Wording, single: float
) -> Iterator[Question]:
    most = max(shown.count(thing) for thing in shown)
    if draw.random() >= COUNTED[most]:
        return
    kinds = list(dict.fromkeys(shown))
    asked = [draw.choice([thing for thing in kinds if shown.count(thing) == most])]
    once = [thing for thing in kinds if shown.count(thing) == 1 < most]
    asked.append(draw.choice(once if once and draw.random() < single else absent))
    draw.shuffle(asked)
    for thing in asked:
        yield word("how_many_x", str(shown.count(thing)), [thing])


def _places(draw: random.Random, scene: Scene, word: Wording) -> Iterator[Question]:
    """Axis 0 is x, so "left"; axis 1 is y, so "above"."""
    margin = CLEARLY * scene.size
    once = scene.once()
    for axis, (what, whether) in enumerate((("left_of", "is_left"), ("above", "is_above"))):
        answers = [(one, before) for one in once if (before := _only_one_before(one, scene, axis, margin))]
        if answers:
            one, before = draw.choice(answers)
            yield word(what, before.thing, [one.thing], places=True)
        pairs = _clear_pairs(scene, axis)
        if pairs:
            one, other = draw.choice(pairs)
            true = draw.random() < 0.5
            pair = [one.thing, other.thing] if true else [other.thing, one.thing]
            yield word(whether, IS_NOT[word.language][true], pair)


def both_orders(scene: Scene, most: int, language: str = "en") -> list[Question]:
    """`is_left` and `is_above` for at most `most` pairs of things each, every pair asked in both orders.

    The two questions about a pair share their words and differ in their answer: only who looks where the things
    are can tell them apart. Raises ValueError for an unknown language.
    """
    draw, word = random.Random(f"both orders/{scene.id}"), Wording(scene, language)
    asked = []
    for axis, whether in enumerate(("is_left", "is_above")):
        pairs = _clear_pairs(scene, axis)
        for one, other in draw.sample(pairs, min(most, len(pairs))):
            no, yes = IS_NOT[language]
            asked.append(word(whether, yes, [one.thing, other.thing]))
            asked.append(word(whether, no, [other.thing, one.thing]))
    return asked


def _clear_pairs(scene: Scene, axis: int) -> list[tuple[Placed, Placed]]:
    """Pairs of things that are there once, the first clearly before the second on an axis."""
    margin = CLEARLY * scene.size
    once = scene.once()
    return [(one, other) for one in once for other in once if other.centre[axis] - one.centre[axis] >= margin]


def _only_one_before(one: Placed, scene: Scene, axis: int, margin: float) -> Placed | None:
    """The one thing clearly before `one` on an axis, when all others lie behind it."""
    gaps = [(placed.centre[axis] - one.centre[axis], placed) for placed in scene.things if placed is not one]
    before = [placed for gap, placed in gaps if gap <= -margin]
    behind = [placed for gap, placed in gaps if gap >= BARELY * scene.size]
    return before[0] if len(before) == 1 and len(behind) == len(gaps) - 1 else None


def _sizes(scene: Scene, word: Wording) -> Iterator[Question]:
    first, *others = sorted(scene.things, key=lambda placed: -placed.side)
    if all(first.side >= BIGGER * other.side and first.area >= BIGGER * other.area for other in others):
        yield word("biggest", first.thing, places=True)
