"""Every answer is worked out again from the boxes, without the code that asks."""

import pytest

from sensorium.data.scenes import SPLITS
from sensorium.data.scenes.balance import by_kind
from sensorium.data.scenes.questions import STILL_KINDS, both_orders


def middle(placed):
    x0, y0, x1, y1 = placed.box
    return (x0 + x1) / 2, (y0 + y1) / 2


def right_answer(scene, question):
    names = [placed.thing.en for placed in scene.things]
    about = question.about
    at = dict(zip(names, map(middle, scene.things)))
    sides = [max(p.box[2] - p.box[0], p.box[3] - p.box[1]) for p in scene.things]
    match question.kind:
        case "ground":
            return scene.ground
        case "there":
            return "yes" if about[0] in names else "no"
        case "how_many":
            return str(len(names))
        case "name":
            assert len(names) == 1
            return names[0]
        case "how_many_x":
            return str(names.count(about[0]))
        case "biggest":
            return names[sides.index(max(sides))]
        case "left_of" | "above":
            assert names.count(about[0]) == 1
            axis = int(question.kind == "above")
            before = [
                name for name, placed in zip(names, scene.things) if middle(placed)[axis] < at[about[0]][axis]
            ]
            assert len(before) == 1
            return before[0]
        case "is_left" | "is_above":
            assert [names.count(name) for name in about] == [1, 1]
            axis = int(question.kind == "is_above")
            return "yes" if at[about[0]][axis] < at[about[1]][axis] else "no"
    raise AssertionError(question.kind)


def test_every_answer_is_right(streams, scenes):
    met = set()
    for split in SPLITS:
        for scene in scenes[split]:
            for question in streams[split].questions(scene):
                assert question.answer == right_answer(scene, question), (scene, question)
                met.add(question.kind)
    assert met == set(STILL_KINDS)


def test_chinese_asks_the_same(streams, scenes):
    names = {thing.en: thing.zh for split in SPLITS for thing in streams[split].things}
    names |= {
        "red": "红色",
        "yellow": "黄色",
        "green": "绿色",
        "blue": "蓝色",
        "purple": "紫色",
        "grey": "灰色",
    }
    names |= {str(number): str(number) for number in range(5)}
    for split in SPLITS:
        for scene in scenes[split][:80]:
            english = streams[split].questions(scene)
            chinese = streams[split].questions(scene, "zh")
            assert [(q.kind, q.about) for q in chinese] == [(q.kind, q.about) for q in english]
            for one, other in zip(english, chinese):
                yes_no = {"there": {"yes": "有", "no": "没有"}}.get(one.kind, {"yes": "是", "no": "不是"})
                assert other.answer == (names | yes_no)[one.answer]
                assert all(names[name] in other.text for name in other.about)
                assert not any(letter.isascii() for letter in other.text)


def test_the_words_of_a_question(streams, scenes):
    asked = by_kind(q for scene in scenes["train"] for q in streams["train"].questions(scene))
    for kind, start, end in (
        ("left_of", "What is left of the ", "?"),
        ("above", "What is above the ", "?"),
        ("there", "Is there a", "?"),
        ("how_many_x", "How many ", " are there?"),
    ):
        assert all(q.text.startswith(start) and q.text.endswith(end) for q in asked[kind])
    first = asked["is_left"][0]
    assert first.text == f"Is the {first.about[0]} left of the {first.about[1]}?"


def test_relations_and_sizes_are_clear_to_the_eye(streams, scenes):
    for scene in scenes["train"]:
        place = {placed.thing.en: middle(placed) for placed in scene.things}
        sides = sorted(placed.side for placed in scene.things)
        for question in streams["train"].questions(scene):
            if question.kind in ("is_left", "is_above"):
                axis = int(question.kind == "is_above")
                one, other = (place[name][axis] for name in question.about)
                assert abs(one - other) >= 28
            if question.kind == "biggest":
                assert sides[-1] >= 1.25 * sides[-2]


def test_an_unknown_language_is_refused(streams, scenes):
    with pytest.raises(ValueError, match="got 'fr'; expected one of en, zh"):
        streams["train"].questions(scenes["train"][0], "fr")


def test_both_orders_of_a_pair_are_asked_and_answered_differently(scenes):
    asked = 0
    for scene in scenes["train"]:
        questions = both_orders(scene, most=2)
        for one, other in zip(questions[::2], questions[1::2]):
            assert one.kind == other.kind
            assert one.about == other.about[::-1]
            assert (one.answer, other.answer) == ("yes", "no")
            for question in (one, other):
                assert question.answer == right_answer(scene, question)
        for kind in ("is_left", "is_above"):
            assert sum(question.kind == kind for question in questions) <= 4
        asked += len(questions)
    assert asked > len(scenes["train"])
