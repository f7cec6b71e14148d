"""PaLM-E on composed scenes at a debug size: states by two routes, trained, scored, saved and opened again."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sensorium.data.scenes import STATE, Scenes, path, state
from sensorium.data.scenes.sensing import crosses
from sensorium.recipes import recipe_function
from sensorium.recipes.palm_e import StateCollator, exchanged
from sensorium.recipes.palm_e_states import ROOM, cells_of, random_states
from sensorium.systems import system_builder
from sensorium.systems.smol_llava import smol_llava
from sensorium.training import checkpoint
from sensorium.training.loop import fit


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A checkpoint of `smol_llava` whose connector and LoRA are not those of a fresh one."""
    model = smol_llava(tuned=(9,))
    with torch.no_grad():
        model.projectors["image"].parts[1].rows.fill_(0.125)
        model.encoders["image"].head.conv.weight.mul_(1.5)
    return checkpoint.save(
        tmp_path_factory.mktemp("start") / "checkpoints",
        1,
        system="smol_llava",
        args={},
        frozen={},
        weights=checkpoint.entries(model).saved,
        card="",
        state_json={},
        state_tensors={},
        keep=1,
    )


@pytest.fixture(scope="module")
def trained(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("palm_e")
    options = {"steps": 1, "batch_size": 1, "state_steps": 2, "tasks": 2, "scenes": 2, "progress": False}
    return folder, fit(recipe_function("palm_e")(start=start, folder=folder, **options))


def test_scores_stand_beside_the_model_without_either_input(trained):
    scores = trained[1].scores
    plan = scores["palm_e.unseen_artist.clear_path.accuracy"]
    assert plan["n"] == 2
    for baseline in ("blind_withheld", "blind_shuffled", "majority", "names_only"):
        assert 0 <= plan[baseline] <= 1
    for variant in ("without_state", "without_image", "shuffled_state", "shuffled_image"):
        score = scores[f"palm_e.unseen_artist.{variant}.clear_path.accuracy"]
        assert score["blind_withheld"] == plan["blind_withheld"]


def test_what_a_seeing_model_learned_is_taken_over_and_saved(trained, start):
    opened = checkpoint.load_model(trained[0], system_builder).state_dict()
    weights = checkpoint.read_tensors(start / "model.safetensors")
    name = "encoders.image.head.conv.weight"
    assert torch.equal(opened[name], weights[name])  # frozen, and not as published
    assert (opened["projectors.image.parts.1.rows"] - 0.125).abs().max() < 0.01
    moved = opened["projectors.image.parts.0.lift.weight"] - weights["projectors.image.parts.0.lift.weight"]
    assert 0 < moved.abs().max() < 0.01


def test_random_states_have_one_thing_in_the_way_by_the_rules_of_scenes():
    states, obstacles = random_states(300, np.random.default_rng(0))
    assert states.shape == (300, len(STATE))
    for numbers, obstacle in zip(states.astype(float), obstacles):
        things, (robot, goal) = numbers[:28].reshape(4, 7), numbers[29:].reshape(2, 2)
        for slot, (there, x, y, width, height, *velocity) in enumerate(things):
            assert velocity == [0, 0]
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            if there and slot == obstacle:
                assert crosses(robot, goal, box)
            elif there:
                assert not crosses(robot, goal, box, ROOM - 1e-6)
    counts = states[:, :28].reshape(-1, 4, 7)[..., 0].sum(1)
    assert {2, 3, 4} == set(counts)


def test_cells_are_those_of_the_things_the_obstacle_the_robot_and_the_goal():
    stream = Scenes("train")
    scene = next(scene for scene in map(stream.scene, range(99)) if path(scene))
    (robot, goal), obstacle = path(scene)
    number = scene.things.index(obstacle)
    points = [*(thing.centre for thing in scene.things), obstacle.centre, robot, goal]
    by_hand = [min(int(y / 32), 6) * 7 + min(int(x / 32), 6) for x, y in points]
    found = cells_of(state(scene)[None], np.array([number]))[0].tolist()
    there = len(scene.things)
    assert found[:there] + found[4:] == by_hand
    assert found[there:4] == [49] * (4 - there)


def test_training_asks_for_several_plans_and_withholds_a_share():
    stream = Scenes("train")
    item = next(item for item in range(9) if any(path(stream.scene(4 * item + n)) for n in range(4)))
    shown, hidden = (
        StateCollator(stream, SimpleNamespace(), tasks=3, withhold=share) for share in (0.0, 1.0)
    )
    plans = [messages for id, messages in shown.conversations(item) if id.endswith("clear_path")]
    assert len(plans) > 1
    media = [[part for part in plan[0]["content"] if part["type"] != "text"] for plan in plans]
    assert all(part["image"] is media[0][0]["image"] for part, _ in media)
    states = [part["state"] for _, part in media]
    assert len({numbers[28:].tobytes() for numbers in states}) == len(plans)  # one picture, several ways
    assert all(np.array_equal(numbers[:28], states[0][:28]) for numbers in states)
    left = {part["type"] for _, told in hidden.conversations(item) for part in told[0]["content"]}
    assert left == {"image", "text"}


def test_media_of_one_modality_are_exchanged():
    def asked(picture: str, numbers: list[float]) -> list[dict]:
        parts = [{"type": "image", "image": picture}, {"type": "state", "state": numbers}]
        parts.append({"type": "text", "text": "Which?"})
        return [{"role": "user", "content": parts}, {"role": "assistant", "content": "a cat"}]

    mixed = exchanged(asked("a.png", [1.0]), asked("b.png", [2.0]), "state")
    assert mixed == asked("a.png", [2.0])
