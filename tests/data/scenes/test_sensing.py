import math

import numpy as np
import pytest

from sensorium.data.scenes import STATE, MovingScenes, path, plans, state
from sensorium.data.scenes.sensing import crosses


def numbers(scene):
    return dict(zip(STATE, state(scene).tolist()))


def walked(start, end, steps=2000):
    """Points on the way from start to end."""
    return [
        (start[0] + (end[0] - start[0]) * n / steps, start[1] + (end[1] - start[1]) * n / steps)
        for n in range(steps + 1)
    ]


def inside(point, box):
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def test_the_state_says_where_things_are(streams, scenes):
    scene = next(scene for scene in scenes["train"] if len(scene.things) == 3)
    known = numbers(scene)
    assert state(scene).dtype == np.float32
    assert state(scene).shape == (33,) == (len(STATE),)
    for slot, placed in enumerate(scene.things):
        x, y = known[f"thing{slot}.x"] * 224, known[f"thing{slot}.y"] * 224
        width, height = known[f"thing{slot}.width"] * 224, known[f"thing{slot}.height"] * 224
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        assert box == pytest.approx(placed.box, abs=1e-3)
        assert known[f"thing{slot}.present"] == 1
    assert all(known[name] == 0 for name in STATE if name.startswith("thing3"))
    assert all(known[name] == 0 for name in STATE if "velocity" in name)


def test_velocities_are_in_sides_a_second():
    stream = MovingScenes(seconds=2.0)
    scene = stream.scene(0)
    known = numbers(scene)
    for slot, placed in enumerate(scene.things):
        x0, y0, *_ = placed.box
        x1, y1, *_ = placed.at(2.0)
        gone = known[f"thing{slot}.velocity_x"] * 224 * 2, known[f"thing{slot}.velocity_y"] * 224 * 2
        assert gone == pytest.approx((x1 - x0, y1 - y0), abs=1e-3)
    assert any(placed.velocity != (0, 0) for placed in scene.things)


def test_the_answer_is_the_one_thing_on_the_way_that_the_state_gives(streams, scenes):
    asked = 0
    for split in scenes:
        for scene in scenes[split]:
            known = numbers(scene)
            questions = plans(scene)
            assert known["path.present"] == len(questions)
            if not questions:
                continue
            asked += 1
            robot = known["robot.x"] * 224, known["robot.y"] * 224
            goal = known["goal.x"] * 224, known["goal.y"] * 224
            way = walked(robot, goal)
            hit = [placed for placed in scene.things if any(inside(point, placed.box) for point in way)]
            assert [placed.thing.en for placed in hit] == [questions[0].answer]
            assert not any(inside(end, placed.box) for end in (robot, goal) for placed in scene.things)
            assert math.dist(robot, goal) >= 0.4 * 224 - 1e-3
            assert scene.names.count(questions[0].answer) == 1
    assert asked > 250


def test_neither_size_nor_place_gives_the_obstacle_away(streams):
    """Without the state: the biggest, or the one nearest to the middle, is the obstacle as often as any other."""
    stream = streams["train"]
    biggest, central, chance = [], [], []
    for i in range(2500):
        scene = stream.scene(i)
        if task := path(scene):
            once, obstacle = scene.once(), task[1]
            chance.append(1 / len(once))
            biggest.append(max(once, key=lambda placed: placed.side) is obstacle)
            central.append(min(once, key=lambda p: math.dist(p.centre, (112, 112))) is obstacle)
    assert len(chance) > 500
    assert np.mean(biggest) == pytest.approx(np.mean(chance), abs=0.06)
    assert np.mean(central) == pytest.approx(np.mean(chance), abs=0.06)


def test_chinese_plans(scenes):
    scene = next(scene for scene in scenes["train"] if plans(scene))
    (english,), (chinese,) = plans(scene), plans(scene, "zh")
    assert english.text == "Which thing do I move to clear the path from the robot to the goal?"
    assert chinese.text == "要让机器人到达目标，应该移开哪个东西？"
    names = {placed.thing.en: placed.thing.zh for placed in scene.things}
    assert chinese.answer == names[english.answer]


@pytest.mark.parametrize(
    ("start", "end", "room", "met"),
    [
        ((0, 5), (20, 5), 0, True),
        ((0, 5), (4, 5), 0, False),
        ((0, 5), (4, 5), 1, True),
        ((0, 0), (20, 20), 0, True),
        ((0, 11), (20, 11), 0, False),
        ((0, 20), (20, 11), 0, False),
        ((7, 7), (7, 7), 0, True),
    ],
)
def test_crossing_a_box(start, end, room, met):
    assert crosses(start, end, (5, 0, 10, 10), room) is met
