import random

import numpy as np
import pytest

from sensorium.data import bundled
from sensorium.data.puzzles import actions, puzzle
from sensorium.data.scenes.motion import DIRECTIONS
from sensorium.data.scenes.scene import GROUNDS


@pytest.fixture(scope="module")
def samples():
    return puzzle("actions").samples("test", 48)


def centre(frame: np.ndarray) -> np.ndarray:
    """(x, y) of the pixels that are not ground, the ground being the colour that most pixels have."""
    away = [np.abs(frame.astype(int) - colour).sum(-1) for colour, _ in GROUNDS.values()]
    ys, xs = np.nonzero(min(away, key=np.count_nonzero))
    return np.array([xs.mean(), ys.mean()])


def test_the_thing_goes_the_way_that_the_label_says(samples):
    for sample in samples:
        motion = sample.fields["hidden"]["video"]
        frames = sample.columns["video"].frames
        assert frames.shape == (actions.FRAMES, actions.SIZE, actions.SIZE, 3)
        away = centre(frames[-1]) - centre(frames[0])
        towards = np.array(DIRECTIONS[motion])
        least = actions.WAY[0] * actions.SIZE - 2
        assert away @ towards >= least
        assert abs(away @ towards[::-1]) < 1
        assert sample.fields["action"].startswith(actions.VERBS[motion])


@pytest.mark.parametrize(("one", "other"), [("left", "right"), ("up", "down")])
def test_frames_backwards_are_the_motion_the_other_way(one, other):
    """So the way is in the order of the frames, and in nothing else."""
    for seed in range(5):
        there, back = (
            actions._scene(random.Random(seed), "train", motion, f"{seed}") for motion in (one, other)
        )
        frames = actions._video(there).frames
        turned = actions._video(back).frames[::-1]
        for frame, other_frame in zip(frames, turned):
            assert centre(frame) == pytest.approx(centre(other_frame), abs=1.01)


def test_voices_are_speech_and_noises_are_not(samples):
    for sample in samples:
        spoken = "spoken in" in sample.fields["sound"]
        assert sample.fields["hidden"]["audio"] == ("voice" if spoken else "noise")
        assert sample.fields["action"].endswith("voice" if spoken else "noise")
        assert 0 < sample.columns["audio"].seconds <= actions.LONGEST


def test_a_sound_shared_by_several_things_stays_on_one_side():
    found = {split: actions._sounds(split) for split in ("train", "validation", "test")}
    keys = {
        split: {source.key() for one in sounds.values() for source in one} for split, sounds in found.items()
    }
    assert (
        not keys["train"] & keys["test"]
        | keys["train"] & keys["validation"]
        | keys["validation"] & keys["test"]
    )
    assert [len(found[split]["noise"]) for split in ("train", "validation", "test")] == [54, 7, 20]
    things = {sample.fields["thing"]: sample.fields["split"] for sample in bundled.effects()}
    tested = {
        source.name.removeprefix("stamps/").removesuffix(", its sound") for source in found["test"]["noise"]
    }
    assert {things[thing] for thing in tested} == {"test"}
