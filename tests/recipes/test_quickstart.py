"""The quickstart at debug size, end to end: what it writes can be opened, searched and believed."""

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

import sensorium
from sensorium.data import bundled
from sensorium.data.sample import Sample
from sensorium.data.scenes import GROUNDS, Scenes
from sensorium.evaluation import generated
from sensorium.media import Video
from sensorium.recipes import quickstart_captions
from sensorium.recipes.captions import DRAWINGS, NAMES, STAMPS
from sensorium.recipes.image_text_audio import SPOKEN, image_text_audio, training_samples, uneven_pairs
from sensorium.recipes.quickstart import quickstart
from sensorium.retrieval.index import Index
from sensorium.weights import shipped

LIMIT = 48
LOOK = {"limit": LIMIT, "epochs": 2, "steps": 1, "scenes": 3, "captioned": 3}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "quickstart"
    quickstart(folder, **LOOK)
    return folder


def test_metrics_are_flat_and_never_alone(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    entry = metrics["emoji.unseen_artist.text_to_image.R@1"]
    assert {"value", "low", "high", "blind", "closed_form", "n"} <= set(entry)
    assert entry["low"] <= entry["value"] <= entry["high"]
    assert entry["n"] == LIMIT
    assert entry["chance"] == pytest.approx(1 / LIMIT)
    assert "stamps.test.audio_to_image.R@10" in metrics


def test_the_checkpoint_opens_and_finds_the_right_picture(finished):
    model = sensorium.load(finished)
    assert model.modalities == ("image", "text", "audio", "video")
    samples = bundled.emoji("train", ["noto"])[:LIMIT:8]
    pictures = model.embed("image", [sample.columns["image"] for sample in samples])
    words = model.embed("text", [str(sample.columns["text"]) for sample in samples])
    assert np.linalg.norm(pictures, axis=1) == pytest.approx(np.ones(len(samples)), abs=1e-5)
    assert (words @ pictures.T).shape == (len(samples), len(samples))
    chosen = model.classify("image", [samples[0].columns["image"]], ["a", "b"])[0]
    assert sum(chosen.values()) == pytest.approx(1.0, abs=1e-5)


def test_a_clip_is_embedded_through_its_frames(finished):
    model = sensorium.load(finished)
    picture = bundled.emoji("train", ["noto"])[0].columns["image"].decode()
    still = Video(np.stack([picture, picture]), np.array([0.0, 0.5]))
    assert model.embed("video", [still]) == pytest.approx(model.embed("image", [picture]), abs=0.02)


def test_the_index_holds_the_test_pictures_and_knows_its_model(finished):
    model = sensorium.load(finished)
    index = Index.open(finished / "index", model)
    assert len(index) == LIMIT
    hits = index.search(text="a face", top_k=3)
    assert [hit.modality for hit in hits] == ["image"] * 3
    assert hits[0].score >= hits[1].score >= hits[2].score


def test_the_second_half_answers_and_is_scored_beside_its_blind_self(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    entry = metrics["scenes.unseen_artist.ground.accuracy"]
    assert {"value", "low", "high", "blind_withheld", "blind_shuffled", "majority", "n"} <= set(entry)
    assert entry["value"] == 1.0  # three grounds, by weights that know them
    model = sensorium.load(finished / "answers")
    assert model.modalities == ("text", "image")
    stream = Scenes("unseen_artist")
    scenes = [stream.scene(i) for i in range(4)]
    said = [model.ask("What colour is the ground?", image=stream.picture(scene)) for scene in scenes]
    assert said == [scene.ground for scene in scenes]
    assert model.ask("What colour is the ground?", image=finished / "examples" / "scene-1.png") in GROUNDS


def test_unseen_pictures_are_named_and_described_beside_the_copy(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    for name in (f"{NAMES}.chooses.accuracy", f"{STAMPS}.chooses.ROUGE-L", f"{STAMPS}.chooses.CIDEr"):
        entry = metrics[name]
        assert entry["n"] == 3
        assert entry["copy_margin"] == pytest.approx(entry["value"] - entry["copy"])
        assert entry["copy_margin_low"] <= entry["copy_margin"] <= entry["copy_margin_high"]
        assert None not in (entry["blind_withheld"], entry["blind_shuffled"])
    assert metrics[f"{STAMPS}.retrieval.ROUGE-L"]["copy"] == metrics[f"{STAMPS}.chooses.ROUGE-L"]["copy"]
    drawn = metrics[f"{DRAWINGS}.retrieval_consensus.ROUGE-L"]
    assert drawn["copy_margin"] == pytest.approx(drawn["value"] - drawn["copy"])
    kept = json.loads((finished / "captions.json").read_text("utf-8"))
    said = kept["said"][NAMES]
    right = [bundled.normalised(one["retrieval"]) == bundled.normalised(one["right"]) for one in said]
    assert metrics[f"{NAMES}.retrieval.accuracy"]["value"] == pytest.approx(np.mean(right))
    unseen = {sample.id for sample in bundled.stamps("test", None)}
    assert {one["id"] for one in kept["said"][STAMPS]} <= unseen
    assert all(f"/{bundled.UNSEEN_ARTIST}/" in one["id"] for one in said)


def test_captions_are_made_once(finished, monkeypatch):
    def again(*_):
        raise AssertionError("scored again")

    monkeypatch.setattr(quickstart_captions, "scored", again)
    metrics = json.loads((finished / "metrics.json").read_text())
    kept = quickstart_captions.name_and_caption(finished, finished, tested=3, limit=LIMIT)
    assert {name: score.as_dict() for name, score in kept.scores.items()}.items() <= metrics.items()
    for other in ({"tested": 2}, {"fresh": True}):
        with pytest.raises(AssertionError, match="scored again"):
            quickstart_captions.name_and_caption(finished, finished, **{"tested": 3, "limit": LIMIT, **other})


def test_the_shipped_captioner_chooses_as_its_run_found_best():
    measured = generated.load(shipped("smol_captioner") / "metrics.json")
    for name, metric in ((NAMES, "accuracy"), (STAMPS, "ROUGE-L")):
        assert str(quickstart_captions.RULES[name]) in measured[f"{name}.chooses.{metric}"].note


def test_the_report_and_the_picture_are_there(finished):
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "emoji" in page
    assert "data:image/" in page
    assert "What colour is the ground?" in page
    assert "Names of drawings by an artist never seen" in page
    assert "Captions of stamps that show things never seen" in page
    assert (finished / "searches.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_run_trains_nothing_and_says_the_same(finished):
    before = (finished / "metrics.json").read_text()
    steps = (finished / "history.jsonl").read_text()
    quickstart(finished, **LOOK)
    assert (finished / "metrics.json").read_text() == before
    assert (finished / "history.jsonl").read_text() == steps


def test_no_tested_thing_is_trained_on():
    tested = {m for s in [*bundled.emoji("unseen_thing"), *bundled.stamps("test")] for m in s.meanings}
    trained = training_samples("fr")
    assert len(trained) > 5000
    assert tested.isdisjoint(m for sample in trained for m in sample.meanings)
    assert bundled.UNSEEN_ARTIST not in {sample.fields.get("artist") for sample in trained}


def test_a_sentence_is_bound_to_its_words_alone():
    modality = {"image": "image", "text": "text", "audio": "audio"}
    silent = Sample("silent", {"image": 1, "text": "a"}, modality)
    spoken = Sample("spoken", {"image": 2, "text": "b", "audio": 3}, modality)
    rows = [(row.id, sorted(row.columns)) for row in uneven_pairs([silent, spoken])]
    assert rows == [
        ("silent", ["image", "text"]),
        ("spoken", ["image", "text"]),
        *[("spoken", ["audio", "text"])] * SPOKEN,
    ]


def test_training_starts_as_the_closed_form_and_only_training_examples_are_remembered(tmp_path: Path):
    run = image_text_audio(tmp_path / "run", limit=LIMIT, epochs=1, progress=False)
    assert run.evaluate is not None
    forgetful = deepcopy(run.model).eval()
    for column in forgetful.columns:
        forgetful.heads[column].recall = None
    with torch.no_grad():
        scores = run.evaluate(forgetful)
    assert all(score.value == score.closed_form for score in scores.values())

    model, samples = run.model.eval(), training_samples("fr")
    samples = [samples[row] for row in torch.linspace(0, len(samples) - 1, LIMIT).long().tolist()]
    heads = {column: model.heads[column] for column in model.columns}
    captions = list(dict.fromkeys(str(sample.columns["text"]) for sample in samples))
    assert {column: len(head.recall.keys) for column, head in heads.items()} == {
        "image": LIMIT,
        "text": len(captions),
        "audio": sum("audio" in sample.columns for sample in samples),
    }
    # A caption's key is its own closed form (the mixing is still the closed form's); so is a picture's value.
    plain = torch.nn.functional.normalize(
        heads["text"].train()(model.encoders["text"].encode(captions, what="pooled")).pooled, dim=1
    )
    torch.testing.assert_close(heads["text"].recall.keys, plain, atol=0.02, rtol=0)
    of_record = plain[[captions.index(str(sample.columns["text"])) for sample in samples]]
    torch.testing.assert_close(heads["image"].recall.values, of_record, atol=0.02, rtol=0)
