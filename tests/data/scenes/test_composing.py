import pickle

import numpy as np
import pytest

from sensorium.data import bundled
from sensorium.data.scenes import SPLITS, Scenes, held_out, vocabulary
from sensorium.data.scenes.composing import apart

SEEN = {thing.code for thing in vocabulary()}
UNSEEN = {thing.code for thing in vocabulary(unseen=True)}


def pairs(scene):
    things = sorted({placed.thing for placed in scene.things}, key=lambda thing: thing.code)
    return [(one, other) for place, one in enumerate(things) for other in things[:place]]


def test_a_scene_depends_on_split_seed_and_number_only(streams, scenes):
    again = Scenes("train")
    assert [again.scene(i) for i in (299, 7)] == [scenes["train"][299], scenes["train"][7]]
    scene = again.scene(7)
    assert (again.picture(scene) == streams["train"].picture(scenes["train"][7])).all()
    assert again.questions(scene) == streams["train"].questions(scenes["train"][7])
    assert Scenes("train", seed=1).scene(7) != scene


def test_the_streams_share_no_scene(scenes):
    drawn = [scene.things for split in SPLITS for scene in scenes[split]]
    assert len(set(drawn)) == len(drawn)


def test_every_split_keeps_to_its_artists_things_and_pairs(scenes):
    for split in SPLITS:
        artists = {placed.artist for scene in scenes[split] for placed in scene.things}
        things = {placed.thing.code for scene in scenes[split] for placed in scene.things}
        together = [held_out(*pair) for scene in scenes[split] for pair in pairs(scene)]
        expected = {bundled.UNSEEN_ARTIST} if split == "unseen_artist" else set(bundled.TRAIN_ARTISTS)
        assert artists == expected
        assert things <= (UNSEEN if split == "unseen_things" else SEEN)
        if split != "unseen_things":
            assert set(together) == {split == "unseen_combinations"}
    assert all(pairs(scene) for scene in scenes["unseen_combinations"])


def test_questions_name_no_pair_that_is_held_out_of_the_split(streams, scenes):
    by_name = {thing.en: thing for thing in vocabulary()}
    for split in ("train", "new_scenes", "unseen_artist", "unseen_combinations"):
        for scene in scenes[split]:
            for question in streams[split].questions(scene):
                named = {by_name[name] for name in question.about} | {p.thing for p in scene.things}
                met = {held_out(one, other) for one in named for other in named if one != other}
                assert met <= {split == "unseen_combinations"}


def test_things_lie_inside_and_apart_by_one_artist_and_of_the_promised_size(scenes):
    for split in SPLITS:
        for scene in scenes[split]:
            assert len({placed.artist for placed in scene.things}) == 1
            for place, placed in enumerate(scene.things):
                x0, y0, x1, y1 = placed.box
                assert 0 <= x0 < x1 <= 224
                assert 0 <= y0 < y1 <= 224
                assert 55 <= placed.side <= 110
                assert all(apart(placed.box, other.box) for other in scene.things[:place])


def test_masks_fill_their_boxes_and_nothing_else(streams, scenes):
    for split in SPLITS:
        for scene in scenes[split][:60]:
            masks = streams[split].masks(scene)
            assert masks.shape == (len(scene.things), 224, 224)
            for placed, mask in zip(scene.things, masks):
                ys, xs = np.nonzero(mask)
                seen = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
                assert np.abs(seen - np.array(placed.box)).max() <= 3
                assert (seen[:2] >= placed.box[:2]).all()
                assert (seen[2:] <= placed.box[2:]).all()


def test_the_picture_is_the_ground_where_nothing_is_and_not_where_something_is(streams, scenes):
    for scene in scenes["train"][:60]:
        picture, masks = streams["train"].picture(scene), streams["train"].masks(scene)
        free = np.ones((224, 224), bool)
        for placed in scene.things:
            x0, y0, x1, y1 = placed.box
            free[y0:y1, x0:x1] = False
        assert (picture[free] == scene.colour).all()
        assert ((picture != scene.colour).any(axis=-1) & masks.any(axis=0)).sum() > 0.5 * masks.sum()


def test_a_stream_that_was_sent_to_another_process_is_small_and_draws_the_same(streams, scenes):
    stream, scene = streams["train"], scenes["train"][5]
    picture = stream.picture(scene)
    sent = pickle.dumps(stream)
    assert len(sent) < 50_000  # no drawings in it
    again = pickle.loads(sent)
    assert again.scene(5) == scene
    assert (again.picture(scene) == picture).all()


def test_larger_pictures_show_the_same_kind_of_scene():
    stream = Scenes("train", size=448)
    scene = stream.scene(0)
    assert stream.picture(scene).shape == (448, 448, 3)
    assert all(110 <= placed.side <= 220 for placed in scene.things)


def test_a_small_vocabulary_is_a_part_of_the_large_one():
    small = {thing.code for thing in Scenes(things=40).things}
    assert len(small) == 40
    assert small < SEEN


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "split of scenes: got 'test'; expected one of train, new_scenes"),
        ({"things": 151}, "expected 40 to 150"),
        ({"size": 10}, "at least 64 pixels"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scenes(**arguments)
