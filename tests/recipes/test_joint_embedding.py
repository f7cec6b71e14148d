"""Your own folder: trained, scored, indexed and searched, with broken files set aside."""

from pathlib import Path

import pytest
from PIL import Image

import sensorium
from sensorium.cli import main
from sensorium.data.sample import Sample
from sensorium.recipes.joint_embedding import joint_embedding, split

COLOURS = ("red", "green", "blue", "yellow", "black", "orange")
THINGS = ("square", "card", "flag", "wall", "tile")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    for c, colour in enumerate(COLOURS):
        for t, thing in enumerate(THINGS):
            Image.new("RGB", (40 + 9 * t, 40), colour).save(folder / f"{c}{t}.png")
            (folder / f"{c}{t}.txt").write_text(f"a {colour} {thing}")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    (folder / "broken.txt").write_text("a broken picture")
    return folder


def test_a_folder_is_trained_indexed_and_searched(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(
        [
            "train",
            "joint_embedding",
            "--source",
            str(folder),
            "--folder",
            "run",
            "--epochs",
            "1",
            "--rank",
            "10",
        ]
    )
    assert "broken.jpg" in Path("run/quarantine.jsonl").read_text()
    main(["index", "index", str(folder), "--model", "run"])
    assert "30 added, 0 already there, 1 bad" in capsys.readouterr().out
    main(["index", "index", str(folder), "--model", "run"])
    assert "0 added, 30 already there, 1 bad" in capsys.readouterr().out
    main(["search", "index", "--image", str(folder / "20.png"), "--top", "2", "--picture", "hits.png"])
    assert "a blue square" in capsys.readouterr().out
    assert Path("hits.png").read_bytes().startswith(b"\x89PNG")
    main(["evaluate", "run", str(folder), "--out", "scores.json"])
    assert "image_to_text.R@1" in Path("scores.json").read_text()
    assert sensorium.load("run").width == 10


def test_too_few_records_say_how_to_give_captions(folder, tmp_path):
    with pytest.raises(ValueError, match="expected at least 20"):
        joint_embedding(next(folder.glob("00.png")).parent / "00.png", tmp_path)


def test_records_that_share_a_meaning_stay_on_one_side():
    def record(number: int, *meanings: str) -> Sample:
        return Sample(str(number), {}, {}, meanings)

    chain = [
        record(0, "a"),
        record(1, "b"),
        record(2, "a", "b"),
        record(3, "c"),
        record(4),
        record(5, "b", "d"),
    ]
    for seed in range(8):
        train, test = split(chain, 0.5, seed)
        assert sorted(s.id for s in [*train, *test]) == list("012345")
        together = {"0", "1", "2", "5"}
        assert [len(together & {s.id for s in side}) for side in (train, test)] in ([4, 0], [0, 4])
