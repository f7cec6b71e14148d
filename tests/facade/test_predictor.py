"""Rows of media in, an answer a task out: what is missing, broken or given in another form."""

import io

import numpy as np
import pytest
import tiny_towers
import torch
from PIL import Image

from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Sample
from sensorium.facade import Predictor
from sensorium.facade.matching import match, pairs
from sensorium.media import MediaError, Source
from sensorium.systems.fusion_network import fusion_network
from sensorium.tasks import AnyOf, Box, Number, OneOf

TASKS = [
    OneOf("mood", ["sad", "glad"]),
    AnyOf("things", ["cat", "dog"]),
    Number("points", centre=3.0),
    Box("where"),
]
ENCODERS = {"photo": "efficientnet_lite0", "title": "minilm"}
WANTED = {"photo": "image", "title": "text"}


@pytest.fixture
def predictor(monkeypatch) -> Predictor:
    tiny_towers.put_in(monkeypatch)
    torch.manual_seed(0)
    return Predictor(fusion_network(ENCODERS, TASKS, fusion="gated", width=8))


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (6, 6, 3), dtype=np.uint8)


def test_an_answer_is_the_largest_of_its_probabilities(predictor, picture):
    [said] = predictor.predict([{"photo": picture, "title": "a ship"}])
    mood = said.probabilities["mood"]
    assert set(mood) == {"sad", "glad"}
    assert sum(mood.values()) == pytest.approx(1)
    assert said.answers["mood"] == max(mood, key=mood.get)
    assert said.answers["things"] == [label for label, p in said.probabilities["things"].items() if p > 0.5]
    assert set(said.probabilities) == {"mood", "things"}
    assert len(said.answers["where"]) == 4
    assert said.seen == ("photo", "title")
    assert set(said.gates) == {"photo", "title"}


def test_a_missing_column_is_one_that_the_model_does_not_see(predictor, picture):
    whole, alone = predictor.predict([{"photo": picture, "title": "a ship"}, {"photo": picture}])
    assert alone.seen == ("photo",)
    assert alone.gates["title"] == 0
    assert whole.gates["title"] > 0
    [none_given] = predictor.predict([{"photo": picture, "title": None}])
    assert none_given.answers == alone.answers
    batch = Sample("x", {"photo": picture, "title": "quite another"}, WANTED)
    hidden = Predictor(predictor.model).predict([Sample("x", {"photo": picture}, WANTED)])[0]
    assert hidden.answers == alone.answers != predictor.predict([batch])[0].answers


def test_rows_do_not_depend_on_their_neighbours(predictor, picture):
    rows = [{"photo": picture, "title": "a"}, {"title": "a longer title"}, {"photo": 255 - picture}]
    together = [said.answers["points"] for said in predictor.predict(rows)]
    alone = [predictor.predict([row])[0].answers["points"] for row in rows]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len(set(together)) == 3


def test_a_picture_in_any_form_is_the_same_picture(predictor, picture, tmp_path):
    file = tmp_path / "a.png"
    Image.fromarray(picture).save(file)
    given = [picture, file, str(file), Source("image", path=file), file.read_bytes()]
    said = predictor.predict([{"photo": one} for one in given])
    assert len({tuple(one.answers["where"]) for one in said}) == 1


def test_a_column_of_words_takes_words_and_files(predictor, tmp_path):
    (tmp_path / "a.txt").write_text("a ship")
    words, file = predictor.predict([{"title": "a ship"}, {"title": tmp_path / "a.txt"}])
    assert words.answers == file.answers


def test_what_cannot_be_predicted_says_what_the_model_reads(predictor, picture, tmp_path):
    with pytest.raises(ValueError, match=r"row 1: got no media; expected .* photo \(image\), title \(text\)"):
        predictor.predict([{"title": "a"}, {"photo": None}])
    with pytest.raises(ValueError, match=r"row 0: got the columns image; expected photo"):
        predictor.predict([{"image": picture}])
    with pytest.raises(ValueError, match=r"predict\(\[row\]\)"):
        predictor.predict({"title": "a"})
    with pytest.raises(MediaError, match="cannot be opened"):
        predictor.predict([{"photo": tmp_path / "none.png"}])
    assert predictor.predict([]) == []


def test_broken_media_are_set_aside_and_the_rest_is_answered(predictor, tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "png")
    broken = Source("image", data=buffer.getvalue()[:40], name="cut.png")
    samples = [
        Sample("both", {"photo": broken, "title": "a ship"}, WANTED),
        Sample("only", {"photo": broken}, WANTED),
    ]
    quarantine = Quarantine(tmp_path / "bad.jsonl", limit_share=1.0)
    both, only = predictor.stream(samples, quarantine)
    assert both is not None
    assert both.seen == ("title",)
    assert only is None
    assert both.answers == predictor.predict([{"title": "a ship"}])[0].answers
    assert [entry.id for entry in quarantine.entries()] == ["both", "only"]
    assert quarantine.bad == 2


def test_columns_are_matched_by_name_then_by_modality():
    assert match(WANTED, {"title": "text", "photo": "image", "x": "image"}, {}, "here") == {
        "photo": "photo",
        "title": "title",
    }
    assert match(WANTED, {"scan": "image", "voice": "audio"}, {}, "here") == {"photo": "scan"}
    two = {"front": "image", "back": "image", "title": "text"}
    assert match(WANTED, two, {"photo": "back"}, "here") == {"photo": "back", "title": "title"}
    with pytest.raises(ValueError, match=r"front, back is the model's 'photo'\? .* --columns photo=front"):
        match(WANTED, two, {}, "here")
    with pytest.raises(ValueError, match=r"here has .*; this model reads image as 'photo'"):
        match(WANTED, two, {"photo": "title"}, "here")
    with pytest.raises(ValueError, match=r"got voice \(audio\), of which this model reads nothing"):
        match(WANTED, {"voice": "audio"}, {}, "here")
    assert pairs(["photo=back"]) == {"photo": "back"}
    with pytest.raises(ValueError, match="expected MODEL'S=YOURS"):
        pairs(["photo"])
