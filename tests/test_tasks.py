"""What is asked: losses against torch and by hand, boxes by hand, answers there and back, errors."""

import json
import math

import pytest
import torch
import torch.nn.functional as F

from sensorium.tasks import AnyOf, Box, Number, OneOf, generalised_iou, iou, task_from

ONE = OneOf("mood", ["sad", "calm", "glad"])
ANY = AnyOf("things", ["cat", "dog", "ship"])
NUMBER = Number("stars", field="rating", centre=3.0, scale=2.0)
BOX = Box("where")
EVERY = (ONE, ANY, NUMBER, BOX)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_one_of():
    targets, known = ONE.targets(["glad", None, "sad"])
    assert (targets.tolist(), known.tolist()) == ([2, 0], [True, False, True])
    outputs = torch.tensor([[0.0, 0.0, math.log(2.0)], [0.0, 0.0, 0.0]])
    assert ONE.loss(outputs, targets).tolist() == pytest.approx([math.log(2), math.log(3)])
    assert ONE.answers(outputs[:1]) == ["glad"]
    torch.testing.assert_close(ONE.probabilities(outputs)[0], torch.tensor([0.25, 0.25, 0.5]))


def test_any_of():
    targets, known = ANY.targets([["ship", "cat"], [], None])
    assert targets.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert known.tolist() == [True, True, False]
    outputs = torch.tensor([[logit(0.8), logit(0.5), logit(0.4)], [logit(0.2), -40.0, -40.0]])
    by_hand = [-(math.log(0.8) + math.log(0.5) + math.log(0.4)) / 3, -math.log(0.8) / 3]
    assert ANY.loss(outputs, targets).tolist() == pytest.approx(by_hand)
    assert ANY.answers(outputs) == [["cat"], []]
    torch.testing.assert_close(ANY.probabilities(outputs)[0], torch.tensor([0.8, 0.5, 0.4]))


def test_number():
    targets, _ = NUMBER.targets([5, 3.5, None])
    assert targets.tolist() == [[5.0], [3.5]]
    outputs = torch.tensor([[0.5], [4.0]])  # 4 and 11 stars; wanted are 1 and 0.25
    assert NUMBER.loss(outputs, targets).tolist() == pytest.approx([0.5 * 0.5**2, 3.75 - 0.5])
    assert NUMBER.answers(outputs) == [4.0, 11.0]
    assert NUMBER.probabilities(outputs) is None


def test_box():
    targets, _ = BOX.targets([[0.7, 0.5, 0.4, 0.4]])
    outputs = torch.tensor([[0.5, 0.5, 0.4, 0.4]]).logit()
    assert BOX.loss(outputs, targets).tolist() == pytest.approx([5 * 0.2 + 2 * (1 - 1 / 3)])
    assert BOX.answers(outputs)[0] == pytest.approx([0.5, 0.5, 0.4, 0.4])


@pytest.mark.parametrize(
    ("other", "shared", "generalised"),
    [
        ([0.5, 0.5, 0.4, 0.4], 1.0, 1.0),
        ([0.7, 0.5, 0.4, 0.4], 1 / 3, 1 / 3),  # moved by half its width: the box around both is their union
        ([0.5, 0.5, 0.2, 0.2], 1 / 4, 1 / 4),  # inside
        ([0.8, 0.8, 0.2, 0.2], 0.0, 0.2 / 0.36 - 1),  # touches a corner: 0.16 + 0.04 of the 0.6² around both
        ([0.5, 0.5, 0.0, 0.0], 0.0, 0.0),  # a point inside: nothing shared, nothing empty
    ],
)
def test_overlap_by_hand(other, shared, generalised):
    one, two = torch.tensor([[0.5, 0.5, 0.4, 0.4]]), torch.tensor([other])
    for a, b in ((one, two), (two, one)):
        assert iou(a, b).item() == pytest.approx(shared, abs=1e-6)
        assert generalised_iou(a, b).item() == pytest.approx(generalised, abs=1e-6)


def test_boxes_far_apart():
    one, other = torch.tensor([0.2, 0.5, 0.2, 0.2]), torch.tensor([0.8, 0.5, 0.2, 0.2])
    assert iou(one, other).item() == 0.0
    assert generalised_iou(one, other).item() == pytest.approx(-0.5)  # half of 0.8 × 0.2 is empty


@pytest.mark.parametrize("task", EVERY, ids=[task.kind for task in EVERY])
def test_a_task_is_written_and_read(task):
    again = task_from(json.loads(json.dumps(task.as_json())))
    assert type(again) is type(task)
    assert again == task
    assert hash(again) == hash(task)
    assert task_from(task) is task
    assert again != OneOf("mood", ["sad", "glad"])


@pytest.mark.parametrize("task", EVERY, ids=[task.kind for task in EVERY])
def test_answers_are_what_targets_take(task):
    torch.manual_seed(0)
    outputs = 3 * torch.randn(8, task.width)
    answers = task.answers(outputs)
    targets, known = task.targets(answers)
    assert known.all()
    perfect = {
        ONE: lambda: F.one_hot(targets, 3) * 50.0,
        ANY: lambda: targets * 100.0 - 50.0,
        NUMBER: lambda: (targets - 3) / 2,
        BOX: lambda: targets.logit(),
    }[task]()
    torch.testing.assert_close(task.loss(perfect, targets), torch.zeros(8), atol=1e-4, rtol=0)


@pytest.mark.parametrize("task", EVERY, ids=[task.kind for task in EVERY])
def test_nothing_known_is_no_targets(task):
    targets, known = task.targets([None, None])
    assert not known.any()
    assert task.loss(torch.zeros(0, task.width), targets).shape == (0,)


@pytest.mark.parametrize(
    ("task", "value", "message"),
    [
        (ONE, "angry", "mood: got 'angry'; expected one of sad, calm, glad"),
        (ANY, ["cat", "whale"], "things: got 'whale'; expected one of cat, dog, ship"),
        (ANY, "cat", "things: got the text 'cat'; expected a list of labels"),
        (ANY, 3.0, "things: got 3.0; expected a list of labels"),
        (NUMBER, "many", "rating: got 'many'; expected a number"),
        (NUMBER, float("nan"), "rating: got nan; expected a number"),
        (NUMBER, [1.0, 2.0], r"rating: got \[1.0, 2.0\]; expected a number"),
        (BOX, [0.5, 0.5, 1.4, 0.4], r"where: got \[0.5, 0.5, 1.4, 0.4\]; expected cx, cy, w, h from 0 to 1"),
        (BOX, [0.5, 0.5], "expected cx, cy, w, h"),
        (BOX, ["a", "b", "c", "d"], "expected cx, cy, w, h"),
        (BOX, 0.5, "where: got 0.5; expected cx, cy, w, h"),
    ],
)
def test_an_answer_that_a_task_does_not_have(task, value, message):
    with pytest.raises(ValueError, match=message):
        task.targets([value])


def test_tasks_that_cannot_be():
    with pytest.raises(ValueError, match=r"labels of 'x': got \['a', 'a'\]; expected two or more different"):
        OneOf("x", ["a", "a"])
    with pytest.raises(ValueError, match="two or more"):
        AnyOf("x", ["a"])
    with pytest.raises(ValueError, match="scale of 'x': got 0"):
        Number("x", scale=0)
    with pytest.raises(ValueError, match="got 'ranking'; expected one of one_of, any_of, number, box"):
        task_from({"kind": "ranking", "name": "x"})
    many = OneOf("x", [str(number) for number in range(100)])
    with pytest.raises(ValueError, match=r"got 'a'; expected one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 …$"):
        many.targets(["a"])
