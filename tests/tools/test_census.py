import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import census
import census_tables
from tables import DATASETS


def test_census_and_cards_say_what_the_files_hold(capsys):
    census.main(check=True)  # counts anew, from the Parquet files alone
    assert capsys.readouterr().out == "census: as written\n"


def test_a_census_that_lies_is_told(tmp_path, monkeypatch):
    for name in ("emoji", "stamps"):
        (tmp_path / name).mkdir()
        card = (DATASETS / name / "README.md").read_text()
        (tmp_path / name / "README.md").write_text(card)
        (tmp_path / name / "census.json").write_text((DATASETS / name / "census.json").read_text())
        counted = json.loads((DATASETS / name / "census.json").read_text())
        counted["things"] += name == "stamps"
        monkeypatch.setattr(census, name, lambda *folders, counted=counted: counted)
    with pytest.raises(SystemExit) as stopped:
        census.main(tmp_path, check=True)
    assert str(stopped.value).splitlines() == [
        f"{tmp_path / 'stamps' / file}: differs from what the Parquet files hold; run python tools/census.py"
        for file in ("census.json", "README.md")
    ]


def test_census_agrees_with_counts_taken_another_way():
    counted = json.loads((DATASETS / "stamps" / "census.json").read_text())
    table = pq.read_table(DATASETS / "stamps" / "speech.parquet", columns=["language", "seconds"])
    by_language = table.group_by("language").aggregate([("seconds", "count"), ("seconds", "sum")]).to_pylist()
    for row in by_language:
        said = counted["speech by language"][row["language"]]
        assert said["clips"] == row["seconds_count"] == said["train"] + said["test"]
        assert said["minutes"] == round(row["seconds_sum"] / 60, 1)
    counted = json.loads((DATASETS / "emoji" / "census.json").read_text())
    artists = pq.read_table(DATASETS / "emoji" / "pictures.parquet", columns=["artist"])["artist"]
    counts = {row["values"]: row["counts"] for row in pa.Array.to_pylist(artists.value_counts())}
    assert {
        artist: sum(n.values()) for artist, n in counted["pictures by artist and split"].items()
    } == counts
    assert counted["pictures"] == sum(counts.values()) == 7340


def test_look_alikes_of_test_pictures_are_sought_in_train_alone():
    def drawing(thing: str, artist: str, grey: int) -> dict:
        file = io.BytesIO()
        Image.new("RGBA", (24, 24), (grey, grey, grey, 255)).save(file, "PNG")
        return {"thing": thing, "artist": artist, "image": file.getvalue()}

    seen, unseen = "noto", "fluent-emoji-flat"
    split = {"a": "train", "b": "train", "c": "unseen_thing"}
    # Greys that are 1 apart are equal, 10 apart nearly so (10 / 255 · sqrt(1 / 2) = 0.028), 50 apart neither.
    pictures = [drawing("a", seen, 100), drawing("b", seen, 200), drawing("c", seen, 101)]
    pictures += [drawing("a", unseen, 110), drawing("b", unseen, 101), drawing("c", unseen, 250)]
    found = census.known_tests(pictures, split)
    assert {name: tuple(counts.values()) for name, counts in found.items()} == {
        "unseen artist": (2, 1, 2, 1),  # b by the unseen artist looks like a by the other, not like b
        "unseen things": (1, 1, 1, 0),
        "unseen things by the unseen artist": (1, 0, 0, 0),
    }


def test_a_card_without_marks_is_refused():
    with pytest.raises(ValueError, match="got no census marks"):
        census_tables.insert("# card", "emoji", {})
