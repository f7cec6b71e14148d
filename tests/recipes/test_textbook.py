"""The textbook's pipeline on a user's folder: learned from, with broken files set aside, and refused with advice."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.batch import Collator
from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Sample
from sensorium.media import Audio, Video
from sensorium.projectors.reduction import Reduction
from sensorium.recipes.textbook import classical, textbook, with_reductions
from sensorium.recipes.textbook_data import Labelled, decoded, labelled, paired
from sensorium.systems import system_builder
from sensorium.systems.fusion_network import fusion_network
from sensorium.tasks import OneOf
from sensorium.training.checkpoint import load_model
from sensorium.training.loop import fit

COLOURS = {"warm": ("red", "orange"), "cold": ("blue", "green")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty pictures in two folders, half of them with a caption that names the label's colour, one of them broken."""
    folder = tmp_path_factory.mktemp("media")
    for label, colours in COLOURS.items():
        (folder / label).mkdir()
        for number in range(20):
            colour = colours[number % 2]
            Image.new("RGB", (30 + number, 30), colour).save(folder / label / f"{number}.png")
            if number % 4 < 2:
                (folder / label / f"{number}.txt").write_text(f"a {colour} card")
    (folder / "warm" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    return folder


def table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_folder_is_learned_and_its_checkpoint_predicts_the_same(folder, tmp_path):
    run = textbook(
        folder,
        folder=tmp_path / "run",
        size=32,
        epochs=6,
        batch_size=8,
        width=16,
        drop=0,
        seed=1,
        progress=False,
    )
    done = fit(run)
    score = done.scores["label.accuracy"]
    assert score["value"] == 1.0
    assert score["n"] == 8
    assert score["majority"] == 0.5
    assert score["blind_shuffled"] < 0.8
    assert "broken.jpg" in (tmp_path / "run" / "quarantine.jsonl").read_text()
    with (tmp_path / "run" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label_predicted"] for row in rows] == [row["label"] for row in rows]
    assert all(0.5 <= float(row["label_probability"]) <= 1 for row in rows)
    about = json.loads((done.checkpoint / "system.json").read_text())
    assert about["args"]["encoders"]["text"]["words"][:2] == [
        "a",
        "card",
    ]  # the system is rebuilt from this alone
    loaded = load_model(tmp_path / "run", system_builder)
    batch = run.collate([0, 1, 2])
    with torch.no_grad():
        torch.testing.assert_close(loaded(batch).outputs["label"], done.model(batch).outputs["label"])


def test_words_are_those_of_the_training_rows_and_splits_hold_every_label(folder):
    data = labelled(folder, None, None, None, 0.25)
    for samples, count in ((data.train, 15), (data.test, 5)):
        labels = [sample.fields["label"] for sample in samples]
        assert labels.count("cold") == count
    assert not {sample.id for sample in data.train} & {sample.id for sample in data.test}
    assert dict(data.modality) == {"image": "image", "text": "text"}
    assert "of the tested rows have a text that was trained on" in data.about


def test_pictures_and_texts_of_two_folders_are_paired_by_name(folder, tmp_path):
    images, texts = tmp_path / "images", tmp_path / "texts"
    for sub in ("x", "y"):
        (images / sub).mkdir(parents=True)
        for name in ("1", "2"):
            Image.new("RGB", (8, 8)).save(images / sub / f"{name}{sub}.png")
    texts.mkdir()
    (texts / "1x.txt").write_text("first")
    (texts / "2y.txt").write_text("second")
    found = {
        sample.id: (sample.columns.get("text"), sample.fields["label"]) for sample in paired(images, texts)
    }
    assert found == {
        "x/1x.png": ("first", "x"),
        "x/2x.png": (None, "x"),
        "y/1y.png": (None, "y"),
        "y/2y.png": ("second", "y"),
    }
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "z.txt").write_text("no picture of it")
    with pytest.raises(ValueError, match=r"no text of .* is called as a picture of"):
        paired(images, tmp_path / "other")


def test_what_cannot_be_learned_says_what_to_type(folder, tmp_path):
    def rows(kinds: list[str]) -> list[dict[str, str]]:
        return [{"caption": f"text {n}", "kind": kind, "place": "here"} for n, kind in enumerate(kinds)]

    good = table(tmp_path / "good.csv", rows(["a", "b"] * 20))
    cases = [
        ({"source": good}, r"got no column 'label' .*There are: kind \(2 different values in 40 rows\), place \(1"),
        ({"source": good, "label": "sort"}, r"got no column 'sort'.*Choose with --label NAME"),
        ({"source": good, "label": "place"}, "every row has the same place, 'here'"),
        ({"source": table(tmp_path / "few.csv", rows(["a", "b"] * 5)), "label": "kind"}, "got 10 rows with a label"),
        (
            {"source": table(tmp_path / "rare.csv", rows(["a", "b"] * 20 + ["c", "d"])), "label": "kind"},
            "2 of 4 labels have a single row, which cannot be trained and tested on: c, d",
        ),
        ({}, "which files"),
        ({"source": good, "images": folder}, "and not both"),
        ({"source": folder, "reduce": "pca"}, "--reduce pca: got towers that learn.*Add --towers pretrained"),
    ]  # fmt: skip
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            textbook(**options, folder=tmp_path / "run", progress=False)


def test_a_column_of_words_can_be_the_label(tmp_path):
    rows = [{"text": f"text {n}", "title": "good" if n % 2 else "bad"} for n in range(40)]
    data = labelled(table(tmp_path / "table.csv", rows), None, None, "title", 0.2)
    assert data.tasks == (OneOf("title", ["bad", "good"]),)
    assert dict(data.modality) == {"text": "text"}
    assert (len(data.train), len(data.test)) == (32, 8)


def test_sounds_and_clips_are_kept_as_small_as_their_towers_see_them(tmp_path):
    random = np.random.default_rng(0)
    clip = Video(random.integers(0, 256, (3, 50, 80, 3), dtype=np.uint8), np.arange(3.0))
    sound = Audio(random.normal(0, 0.1, 20 * 16_000).astype(np.float32).clip(-1, 1), 16_000)
    modality = {"clip": "video", "sound": "audio"}
    samples = [
        Sample("0", {"clip": clip, "sound": sound}, modality, (), {"label": "a"}),
        Sample("1", {"sound": sound}, modality, (), {"label": "b"}),
    ]
    data = Labelled((OneOf("label", ["a", "b"]),), modality, samples, samples[1:], "")
    model = fusion_network(classical(data, "vgg", 32), data.tasks, width=8).eval()
    small = decoded(data, model.by_column, Quarantine(tmp_path / "quarantine.jsonl"), progress=False)
    assert small.train[0].columns["clip"].frames.shape == (3, 32, 32, 3)
    assert len(small.train[0].columns["sound"].samples) == 10 * 16_000 + 1
    with torch.no_grad():
        kept = model(Collator(model.by_column)(small.train)).outputs["label"]
        whole = model(Collator(model.by_column)(samples)).outputs["label"]
    torch.testing.assert_close(kept, whole)


def test_reductions_are_fitted_on_the_training_rows_and_put_into_the_network():
    """Of a stand-in for a frozen tower: its features are those of the cache."""
    x = np.random.default_rng(0).normal(size=(30, 256)).astype(np.float32)

    class Cache:
        width = 256

        def row(self, id):
            return int(id)

        def pooled(self, rows):
            return x[rows]

    class Record:
        def __init__(self, number):
            self.id, self.fields = str(number), {"label": "ab"[number % 2]}

    task = OneOf("label", ["a", "b"])
    args = {"encoders": {"text": {"kind": "lstm", "words": ["a"]}}, "tasks": [task.as_json()], "width": 8}
    train = [Record(number) for number in range(20)]
    model, made = with_reductions(args, {"text": Cache()}, train, task, "pca", 64, seed=0)
    assert made["reduce"] == {"text": {"width": 19}}  # twenty rows vary in nineteen directions
    want = Reduction.fit("pca", x[:20], width=19)
    torch.testing.assert_close(model.projectors["text"].parts[0].matrix, want.matrix)
    model, made = with_reductions(args, {"text": Cache()}, train, task, "lda", 64, seed=0)
    assert made["reduce"] == {"text": {"width": 1}}
