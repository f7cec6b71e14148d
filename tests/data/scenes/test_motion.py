import numpy as np
import pytest

from sensorium.data.scenes import SPLITS, MovingScenes, backwards, by_kind, frozen, held_out, shuffled
from sensorium.data.scenes.composing import apart
from sensorium.data.scenes.motion import DIRECTIONS, IN_CHINESE, CrossingScenes, direction
from sensorium.data.scenes.questions import MOTION_KINDS

MANY = 150


@pytest.fixture(scope="module")
def moving(streams):
    drawings = streams["train"].drawings
    made = {split: MovingScenes(split, drawings=drawings) for split in SPLITS}
    return {split: (stream, [stream.scene(i) for i in range(MANY)]) for split, stream in made.items()}


def answer_from_masks(stream, scene, question):
    """From where the pixels of each thing are in the first and the last frame."""
    first = stream.drawings.masks(scene, 0.0)
    last = stream.drawings.masks(scene, stream.seconds)
    gone = {}
    for placed, before, after in zip(scene.things, first, last):
        middles = [np.array(np.nonzero(mask)).mean(axis=1)[::-1] for mask in (before, after)]
        gone[placed.thing.en] = middles[1] - middles[0]
    if question.kind == "direction":
        x, y = gone[question.about[0]]
        across = abs(x) > abs(y)
        return ("right" if x > 0 else "left") if across else ("down" if y > 0 else "up")
    far = {name: np.abs(way).sum() for name, way in gone.items()}
    if question.kind == "moves":
        assert sorted(far.values())[-2] == 0
        return max(far, key=far.get)
    return max(question.about, key=far.get)


def test_answers_follow_from_the_pixels(moving):
    met = set()
    for stream, scenes in moving.values():
        for scene in scenes[:40]:
            for question in stream.questions(scene):
                if question.kind in MOTION_KINDS:
                    assert question.answer == answer_from_masks(stream, scene, question)
                    met.add(question.kind)
    assert met == set(MOTION_KINDS)


def test_nothing_leaves_the_picture_or_meets_another_thing(moving):
    for stream, scenes in moving.values():
        for scene in scenes:
            for time in np.linspace(0, stream.seconds, stream.frames):
                boxes = [placed.at(time) for placed in scene.things]
                assert all(min(box) >= 0 and max(box) <= 224 for box in boxes)
                assert all(apart(box, other) for n, box in enumerate(boxes) for other in boxes[:n])


def test_splits_hold_for_moving_scenes_too(moving):
    for split, (stream, scenes) in moving.items():
        shown = {placed.thing for scene in scenes for placed in scene.things}
        assert shown <= set(stream.things)
        assert {placed.artist for scene in scenes for placed in scene.things} == set(stream.artists)
        if split != "unseen_things":
            met = {
                held_out(a.thing, b.thing)
                for s in scenes
                for n, a in enumerate(s.things)
                for b in s.things[:n]
            }
            assert met == {split == "unseen_combinations"}


def test_a_video_shows_the_scene_at_its_times(moving):
    stream, scenes = moving["train"]
    video = stream.video(scenes[0])
    assert video.frames.shape == (8, 224, 224, 3)
    assert video.times.tolist() == pytest.approx([2 * n / 7 for n in range(8)])
    assert (video.frames[0] == stream.picture(scenes[0])).all()
    assert (video.frames[3] == stream.drawings.picture(scenes[0], 6 / 7)).all()
    assert (stream.video(scenes[0]).frames == video.frames).all()


def test_blind_videos(moving):
    stream, scenes = moving["train"]
    video = stream.video(scenes[1])
    mixed, still = shuffled(video, "a"), frozen(video)
    assert (mixed.times == video.times).all()
    assert not (mixed.frames == video.frames).all()
    assert sorted(frame.tobytes() for frame in mixed.frames) == sorted(
        frame.tobytes() for frame in video.frames
    )
    assert (still.frames == video.frames[4]).all()
    assert (shuffled(video, "a").frames == mixed.frames).all()


def test_the_place_in_the_middle_frame_does_not_tell_the_way(moving):
    """Things that go right are as often in the left half, in the middle of the video, as those that go left."""
    left_half = {"left": [], "right": []}
    stream = moving["train"][0]
    for i in range(1500):
        for placed in stream.scene(i).things:
            if placed.velocity[0]:
                x0, _, x1, _ = placed.at(stream.seconds / 2)
                left_half["left" if placed.velocity[0] < 0 else "right"].append((x0 + x1) / 2 < 112)
    shares = [np.mean(found) for found in left_half.values()]
    assert abs(shares[0] - shares[1]) < 0.08  # about 550 of each: three standard errors
    assert min(shares) > 0.4


def test_chinese_ways(moving):
    stream, scenes = moving["train"]
    english = by_kind(q for scene in scenes for q in stream.questions(scene))["direction"]
    chinese = by_kind(q for scene in scenes for q in stream.questions(scene, "zh"))["direction"]
    assert [IN_CHINESE[q.answer] for q in english] == [q.answer for q in chinese]
    assert chinese[0].text.endswith("往哪个方向移动？")


def test_wrong_videos_are_refused():
    with pytest.raises(ValueError, match=r"got 1 frames in 2\.0 s"):
        MovingScenes(frames=1)


def test_a_crossing_thing_is_alone_and_goes_from_side_to_side():
    stream = CrossingScenes("train", frames=4)
    scenes = [stream.scene(i) for i in range(12)]
    assert {direction(scene.things[0]) for scene in scenes} == set(DIRECTIONS)
    for scene in scenes:
        (placed,) = scene.things
        ends = placed.at(0.0), placed.at(stream.seconds)
        axis = 0 if placed.velocity[0] else 1
        assert (min(box[axis] for box in ends), max(box[axis + 2] for box in ends)) == (0, scene.size)


def test_backwards_is_what_the_video_shows_from_its_end(moving):
    stream, scenes = moving["train"]
    for scene in scenes[:4]:
        turned = backwards(scene, stream.seconds)
        for placed, back in zip(scene.things, turned.things):
            assert np.abs(np.subtract(back.at(stream.seconds), placed.box)).max() <= 1  # rounded twice
            assert {direction(placed), direction(back)} in (
                {"left", "right"},
                {"up", "down"},
                {None},
            )
