"""`predict` and `evaluate` of a fusion network as a user calls them: missing cells, broken files, kept outputs."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import tiny_towers
import torch
from PIL import Image

from sensorium.cli import main, predicting, scoring
from sensorium.facade import Predictor
from sensorium.systems.fusion_network import fusion_network
from sensorium.tasks import AnyOf, Number, OneOf

TASKS = [OneOf("mood", ["glad", "sad"]), AnyOf("things", ["cat", "dog"]), Number("points")]
ENCODERS = {"image": "efficientnet_lite0", "text": "minilm"}


@pytest.fixture(autouse=True)
def predictor(monkeypatch, tmp_path) -> Predictor:
    tiny_towers.put_in(monkeypatch)
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    made = Predictor(fusion_network(ENCODERS, TASKS, fusion="gated", width=8), "run")
    monkeypatch.setattr(predicting, "load_predictor", lambda checkpoint: made)
    monkeypatch.setattr(scoring, "load", lambda checkpoint: made)
    return made


@pytest.fixture
def table(tmp_path) -> Path:
    """Whole, without a picture, without words, with a broken picture, with nothing."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    rows = [
        ["r1", "a.png", "a ship", "glad", "cat|dog", "1.5"],
        ["r2", "", "a bird", "sad", "cat", "-2"],
        ["r3", "b.png", "", "sad", "dog", ""],
        ["r4", "cut.png", "an eel", "", "cat", "3"],
        ["r5", "", "", "glad", "", "0"],
    ]
    with (tmp_path / "rows.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "photo", "title", "mood", "things", "points"], *rows])
    return tmp_path / "rows.csv"


def rows_of(file: str) -> list[dict[str, str]]:
    with Path(file).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_record_is_a_row_whatever_it_lacks(table, predictor, capsys):
    main(["predict", "run", str(table), "--out", "out/p.csv"])
    rows = rows_of("out/p.csv")
    assert [row["id"] for row in rows] == ["r1", "r2", "r3", "r4", "r5"]
    assert [row["seen"] for row in rows] == ["image+text", "text", "image", "text", ""]
    assert [row["mood"] for row in rows] == ["glad", "sad", "sad", "", "glad"]
    assert rows[4]["predicted_mood"] == rows[4]["probability_mood_sad"] == rows[4]["gate_text"] == ""
    given = [{"image": "a.png", "text": "a ship"}, {"text": "a bird"}, {"image": "b.png"}, {"text": "an eel"}]
    for row, said in zip(rows, predictor.predict(given), strict=False):
        assert row["predicted_mood"] == said.answers["mood"]
        assert row["predicted_things"] == "|".join(said.answers["things"])
        assert float(row["predicted_points"]) == pytest.approx(said.answers["points"], abs=1e-5)
        assert float(row["probability_things_dog"]) == pytest.approx(
            said.probabilities["things"]["dog"], abs=1e-5
        )
        assert float(row["gate_image"]) == pytest.approx(said.gates["image"], abs=1e-5)
    bad = [json.loads(line) for line in Path("out/p.quarantine.jsonl").read_text().splitlines()]
    assert [(one["id"], one["column"]) for one in bad] == [("r4", "image")]
    told = capsys.readouterr().out
    assert "reading image ← photo, text ← title" in told
    assert "without any column that the model reads: 1" in told
    assert "1 media could not be decoded" in told
    assert "p.quarantine.jsonl" in told


def test_parquet_holds_what_csv_does(table):
    main(["predict", "run", str(table), "--out", "p.csv"])
    main(["predict", "run", str(table), "--out", "p.parquet", "--limit", "3"])
    typed = pyarrow.parquet.read_table("p.parquet").to_pylist()
    plain = rows_of("p.csv")
    assert list(typed[0]) == list(plain[0])
    assert len(typed) == 3
    assert typed[0]["predicted_points"] == pytest.approx(float(plain[0]["predicted_points"]), abs=1e-5)
    assert "|".join(typed[0]["predicted_things"]) == plain[0]["predicted_things"]
    assert typed[1]["photo"] is None


def test_names_of_the_source_that_are_ours_are_kept_apart(table):
    table.write_text(table.read_text().replace("points", "seen"))
    main(["predict", "run", str(table), "--out", "p.csv"])
    row = rows_of("p.csv")[0]
    assert (row["source_seen"], row["seen"]) == ("1.5", "image+text")


def test_columns_are_mapped_as_is_said(table):
    table.write_text(table.read_text().replace("title", "review"))
    main(["predict", "run", str(table), "--out", "p.csv"])
    assert rows_of("p.csv")[1]["seen"] == ""
    main(["predict", "run", str(table), "--out", "p.csv", "--columns", "text=review"])
    assert rows_of("p.csv")[1]["seen"] == "text"


def test_a_file_that_is_there_survives_a_failure(table, monkeypatch):
    Path("p.csv").write_text("precious")

    def breaks(file, named):
        file.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(predicting, "_write_csv", breaks)
    with pytest.raises(SystemExit):
        main(["predict", "run", str(table), "--out", "p.csv"])
    assert Path("p.csv").read_text() == "precious"
    assert not list(Path().glob(".p.csv*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rows.csv", "--out", "p.xlsx"], "expected a name that ends in .csv or .parquet, such as p.csv"),
        (["nowhere"], "nowhere: no such file or folder"),
        (["rows.csv", "--columns", "image=title"], "rows.csv has photo (image), title (text)"),
        (["rows.csv", "--columns", "sound=title"], "this model reads image (image), text (text)"),
        (["rows.csv", "--limit", "0"], "expected at least 1"),
    ],
)
def test_what_cannot_be_predicted_is_said_in_one_line(table, arguments, said, capsys):
    with pytest.raises(SystemExit):
        main(["predict", "run", *arguments])
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_evaluate_scores_the_users_answers(table, predictor, capsys):
    main(["evaluate", "run", str(table), "--out", "scores.json"])
    shown = capsys.readouterr().out
    assert "mood.macro_f1" in shown
    assert "mood.without_text.accuracy" in shown
    assert "mood.without_text.macro_f1" not in shown  # in the file only
    found = json.loads(Path("scores.json").read_text())
    said = predictor.predict([{"image": "a.png", "text": "a ship"}, {"text": "a bird"}, {"image": "b.png"}])
    right = [one.answers["mood"] == mood for one, mood in zip(said, ["glad", "sad", "sad"], strict=True)]
    # r4 has no mood; r5 has a mood and no column, and is answered from nothing
    assert found["mood.accuracy"]["n"] == 4
    assert found["mood.accuracy"]["value"] * 4 - sum(right) in (0, 1)
    assert found["points.mae"]["n"] == 4
    assert found["mood.accuracy"]["majority"] == 0.5
    assert {"mood.without_text.macro_f1", "things.mAP"} <= set(found)


def test_evaluate_without_answers_says_which_field(table, capsys):
    for name in ("mood", "things", "points"):
        table.write_text(table.read_text().replace(name, f"my_{name}"))
    with pytest.raises(SystemExit):
        main(["evaluate", "run", str(table)])
    assert "expected the field 'mood' or 'things' or 'points', got my_mood" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", "run", "sentiment"])
    assert "the puzzle sentiment asks for" in capsys.readouterr().err
