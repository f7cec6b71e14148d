import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sensorium.data import bundled
from sensorium.data.bundled import BundledDataError
from sensorium.media import Audio

DATASETS = Path(__file__).resolve().parents[2] / "datasets"


@pytest.fixture(scope="module")
def emoji():
    return bundled.emoji()


@pytest.fixture(scope="module")
def stamps():
    return bundled.stamps()


@pytest.mark.parametrize(
    ("caption", "meaning"),
    [
        ("A  Crow.", "crow"),
        ("an owl", "owl"),
        ("The bass clef!", "bass clef"),
        ("Some flowers.", "flowers"),
        ("A", "a"),
        ("ant", "ant"),
        ("Ångström…", "ångström"),
    ],
)
def test_captions_that_say_the_same_are_one_meaning(caption, meaning):
    assert bundled.normalised(caption) == meaning


def test_emoji_splits_part_things_and_artists(emoji):
    assert len({sample.id for sample in emoji}) == len(emoji) == 7340
    seen = {sample.fields["thing"] for sample in bundled.emoji("train")}
    unseen = {sample.fields["thing"] for sample in bundled.emoji("unseen_thing")}
    assert (len(seen), len(unseen), seen & unseen) == (1422, 152, set())
    train = bundled.emoji("train", bundled.TRAIN_ARTISTS)
    assert {sample.fields["artist"] for sample in train} == set(bundled.ARTISTS) - {"fluent-emoji-flat"}
    assert len(train) == 1422 * 3 + 962
    assert len(bundled.emoji("train", [bundled.UNSEEN_ARTIST])) == 1401


def test_drawings_of_one_thing_share_a_meaning_and_nothing_else_does(emoji):
    by_thing: dict[str, set] = {}
    for sample in emoji:
        by_thing.setdefault(sample.fields["thing"], set()).add(sample.meanings)
    assert all(len(meanings) == 1 for meanings in by_thing.values())
    keys = [key for meanings in by_thing.values() for key in next(iter(meanings))]
    assert len(keys) == len(set(keys)) == 2 * 1574


def test_an_emoji_is_what_unicode_says(emoji):
    (sample,) = [s for s in emoji if s.id == "emoji/noto/1f426"]
    assert sample.columns["text"] == "bird"
    assert sample.meanings == ("emoji:1f426", "caption:bird")
    assert sample.fields["emoji"].rstrip("\N{VARIATION SELECTOR-16}") == "\N{BIRD}"
    assert sample.fields["group"] == "animals-nature"
    assert sample.fields["names"]["fr"] == "oiseau"
    assert sample.fields["names"]["de"] == "Vogel"
    assert len(sample.fields["names"]) == 28
    assert sample.fields["tags"]["en"] == ["animal", "ornithology"]


def test_maps_are_those_that_arrow_reads(stamps):
    table = pq.read_table(DATASETS / "emoji" / "things.parquet", columns=["thing", "names", "tags"])
    rows = {row["thing"]: row for row in table.to_pylist()[::97]}
    for sample in bundled.emoji(artists=["twemoji"]):
        if row := rows.get(sample.fields["thing"]):
            assert sample.fields["names"] == dict(row["names"])
            assert sample.fields["tags"] == dict(row["tags"])
    captions = pq.read_table(DATASETS / "stamps" / "stamps.parquet", columns=["captions"])[
        "captions"
    ].to_pylist()
    assert [sample.fields["captions"] for sample in stamps] == [dict(row) for row in captions]


def test_pictures_decode_on_the_ground_asked_for(emoji):
    (sample,) = [s for s in emoji if s.id == "emoji/twemoji/1f534"]  # a red circle
    white, green = (
        sample.columns["image"].decode(ground=ground) for ground in ((255, 255, 255), (0, 255, 0))
    )
    assert white.shape == (160, 160, 3)
    assert (white[0, 0] >= 250).all()
    assert green[0, 0].tolist() == [0, 255, 0]
    assert np.abs(white[80, 80].astype(int) - [221, 46, 68]).max() <= 6  # Twemoji's red, #DD2E44
    assert (white[80, 80] == green[80, 80]).all()


def test_stamps_keep_groups_and_captions_on_one_side(stamps):
    assert len({sample.id for sample in stamps}) == len(stamps) == 950
    sides: dict[str, set] = {}
    for sample in stamps:
        for key in (f"group {sample.fields['group']}", *sample.meanings):
            sides.setdefault(key, set()).add(sample.fields["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert (len(bundled.stamps("train")), len(bundled.stamps("test"))) == (757, 193)
    assert {s.fields["split"] for s in stamps if s.fields["fold"] in (0, 1)} == {"test"}


def test_what_looks_alike_need_not_mean_the_same(stamps):
    of = {sample.fields["thing"]: sample for sample in stamps}
    less, greater = (of[f"symbols/math/operators/{name}"] for name in ("op6_lessthan", "op7_greaterthan"))
    assert less.fields["group"] == greater.fields["group"]
    assert not set(less.meanings) & set(greater.meanings)
    photo, drawing = of["food/fruit/banana"], of["food/fruit/cartoon/banana"]
    assert set(photo.meanings) & set(drawing.meanings) == {"caption:banana"}


def test_one_meaning_in_both_sets(emoji, stamps):
    crows = {key for s in stamps if s.fields["thing"] == "animals/birds/owl" for key in s.meanings}
    assert crows & {key for sample in emoji for key in sample.meanings} == {"caption:owl"}


@pytest.mark.parametrize(
    ("language", "clips"), [("fr", 925), ("es", 888), ("ca", 915), ("ru", 918), ("en", 65)]
)
def test_descriptions_are_there_in_the_language_asked_for(language, clips):
    samples = bundled.stamps(language=language)
    spoken = [sample for sample in samples if "audio" in sample.columns]
    assert len(spoken) == clips
    assert all(sample.modality["audio"] == "audio" for sample in samples)
    assert spoken[0].fields["language"] == language


def test_sounds_last_as_long_as_their_table_says():
    table = pq.read_table(DATASETS / "stamps" / "speech.parquet").slice(400, 3).to_pylist()
    voices = bundled.speech(["fr"])["fr"]
    for row in table:
        sound = voices[row["thing"]].decode()
        assert isinstance(sound, Audio)
        assert sound.rate == 16_000
        assert sound.seconds == pytest.approx(row["seconds"], abs=1e-4)
        assert np.abs(sound.samples).max() > 0.05


def test_speech_of_one_language_is_that_of_all():
    every = bundled.speech()
    assert {language: len(clips) for language, clips in every.items()} == {
        "fr": 925,
        "es": 888,
        "en": 65,
        "ca": 915,
        "ru": 918,
    }
    (one,) = bundled.speech(["es"]).values()
    assert one.keys() == every["es"].keys()
    assert bundled.stamps(language=None)[0].columns.keys() == {"image", "text"}


def test_effects_are_sounds_of_stamps():
    effects = bundled.effects()
    assert len(effects) == 130
    assert sum(sample.fields["spoken"] for sample in effects) == 24
    (cow,) = [sample for sample in effects if sample.fields["thing"] == "animals/mammals/bovines/cow"]
    assert cow.fields["caption"] == "A cow."
    assert set(cow.columns) == {"image", "audio"}
    assert cow.columns["audio"].decode().seconds > 0.5


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: bundled.emoji("test"), "split of emoji: got 'test'; expected one of train, unseen_thing"),
        (
            lambda: bundled.stamps("unseen_thing"),
            "split of stamps: got 'unseen_thing'; expected one of train, test",
        ),
        (
            lambda: bundled.emoji(artists=["noto", "apple"]),
            "artist: got 'apple'; expected one of twemoji, noto",
        ),
        (
            lambda: bundled.stamps(language="tlh"),
            "language of speech: got 'tlh'; expected one of fr, es, en, ca, ru",
        ),
        (lambda: bundled.data_folder("coco"), "bundled data set: got 'coco'; expected one of emoji, stamps"),
    ],
)
def test_unknown_names_are_one_line_that_lists_the_known(call, said):
    with pytest.raises(BundledDataError) as caught:
        call()
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_data_is_found_by_its_variable_and_missed_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv(bundled.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(BundledDataError) as caught:
        bundled.emoji()
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    shutil.copytree(DATASETS / "stamps", tmp_path / "stamps")
    assert bundled.data_folder("stamps") == tmp_path / "stamps"
    assert len(bundled.stamps("test")) == 193
    monkeypatch.delenv(bundled.FOLDER_VARIABLE)
    assert bundled.data_folder("stamps") == DATASETS / "stamps"


def test_a_damaged_or_missing_file_is_named(tmp_path):
    shutil.copytree(DATASETS / "stamps", tmp_path, dirs_exist_ok=True)
    half = (tmp_path / "stamps.parquet").read_bytes()[:1000]
    (tmp_path / "stamps.parquet").write_bytes(half)
    with pytest.raises(BundledDataError, match=r"got a damaged .*stamps\.parquet"):
        bundled.stamps(folder=tmp_path)
    (tmp_path / "speech.parquet").unlink()
    with pytest.raises(BundledDataError, match=r"got no .*speech\.parquet"):
        bundled.speech(folder=tmp_path)
