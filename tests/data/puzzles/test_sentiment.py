import numpy as np
import pytest

from sensorium.data import bundled
from sensorium.data.puzzles import puzzle, sentiment
from sensorium.media import Audio


@pytest.fixture(scope="module")
def drawn():
    return {split: puzzle("sentiment").samples(split, 160) for split in ("train", "validation", "test")}


def test_the_label_is_what_most_signs_say(drawn):
    for samples in drawn.values():
        for sample in samples:
            signs = sample.fields["hidden"].values()
            assert sample.fields["strength"] == sum(signs)
            assert sample.fields["sentiment"] == ("positive" if sum(signs) > 0 else "negative")


def test_all_eight_combinations_are_as_frequent(drawn):
    for samples in drawn.values():
        signs = [tuple(sample.fields["hidden"].values()) for sample in samples]
        assert {signs.count(one) for one in sentiment.SIGNS} == {20}


def test_faces_show_their_sign(drawn):
    names = {sample.fields["thing"]: sample.columns["text"] for sample in bundled.emoji()}
    for samples in drawn.values():
        for sample in samples:
            right = {1: sentiment.POSITIVE_FACES, -1: sentiment.NEGATIVE_FACES}
            assert names[sample.fields["face"]] in right[sample.fields["hidden"]["image"]]


def test_sentences_of_a_sign_share_no_word_of_feeling_with_those_of_the_other():
    said = {sign: set() for sign in (-1, 1)}
    for split in ("train", "validation", "test"):
        for sign in said:
            said[sign] |= set(sentiment.WORDS[split][sign])
    assert not said[-1] & said[1]
    assert len(said[1]) == len(said[-1]) == 16


def test_the_test_has_other_artists_things_and_sentences(drawn):
    train, test = drawn["train"], drawn["test"]
    assert {sample.fields["artist"] for sample in test} == {bundled.UNSEEN_ARTIST}
    assert bundled.UNSEEN_ARTIST not in {sample.fields["artist"] for sample in train}
    assert not {sample.fields["thing"] for sample in train} & {sample.fields["thing"] for sample in test}
    assert "ru" in {sample.fields["language"] for sample in test}
    assert "ru" not in {sample.fields["language"] for sample in train}
    frames = [set(sentiment.FRAMES[split]) for split in ("train", "validation", "test")]
    assert not frames[0] & frames[1] | frames[0] & frames[2] | frames[1] & frames[2]


def test_every_face_named_is_drawn_by_the_unseen_artist():
    faces = sentiment._faces("test")
    assert [len(faces[sign]) for sign in (1, -1)] == [
        len(sentiment.POSITIVE_FACES),
        len(sentiment.NEGATIVE_FACES),
    ]


def test_a_clip_is_changed_once_in_each_way(drawn):
    by_clip = {}
    for sample in drawn["train"]:
        audio = sample.columns["audio"]
        assert isinstance(audio, Audio)
        assert audio.samples.dtype == np.float32
        assert np.abs(audio.samples).max() <= 1
        key = (sample.fields["thing"], sample.fields["language"], sample.fields["hidden"]["audio"])
        assert by_clip.setdefault(key, audio) is audio


def test_no_recording_tested_is_one_of_training():
    keys = {
        split: {
            sentiment._speech()[language][thing].key()
            for thing, _ in sentiment._things(split)
            for language in sentiment.VOICES[split]
            if thing in sentiment._speech()[language]
        }
        for split in ("train", "validation", "test")
    }
    assert [len(keys[split]) for split in keys] == [766, 107, 298]
    assert len(set().union(*keys.values())) == 766 + 107 + 298
