"""Your own folder: trained, scored, indexed and searched, with broken files set aside."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

import sensorium
from sensorium.cli import main
from sensorium.data.sample import Sample
from sensorium.media import Video
from sensorium.media.writing import write_video
from sensorium.recipes.joint_embedding import joint_embedding, split
from sensorium.training.loop import fit

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


def test_clips_with_captions_are_trained_indexed_and_searched(tmp_path, capsys, monkeypatch):
    """Colours that turn into others: no single frame, and not their mean, tells a clip from its opposite."""
    monkeypatch.chdir(tmp_path)
    clips = tmp_path / "clips"
    clips.mkdir()
    for first, second in itertools.permutations(COLOURS, 2):
        frames = np.stack(
            [np.full((32, 32, 3), ImageColor.getrgb(name), np.uint8) for name in (first, second)]
        )
        write_video(Video(frames, np.arange(2.0)), clips / f"{first}-{second}.mp4")
        (clips / f"{first}-{second}.txt").write_text(f"{first} turns {second}")
    run = joint_embedding(clips, Path("run"), rank=20, epochs=1, held_out=0.1, progress=False)
    assert run.system_args == {"rank": 20, "video": True, "statistics": True}
    fit(run)
    main(["index", "index", str(clips), "--model", "run"])
    assert "30 added" in capsys.readouterr().out
    space = sensorium.load("run")
    videos = sorted(clips.glob("*.mp4"))
    said = [video.with_suffix(".txt").read_text() for video in videos]
    cosines = space.similarity(("text", said), ("video", videos))
    assert (cosines.argmax(1) == np.arange(30)).mean() > 0.8  # trained on 27 of them
    swapped = [videos.index(clips / "{1}-{0}.mp4".format(*video.stem.split("-"))) for video in videos]
    assert (cosines.diagonal() > cosines[np.arange(30), swapped]).mean() > 0.9
    main(["search", "index", "--video", str(videos[7]), "--top", "1"])
    assert videos[7].name in "".join(capsys.readouterr().out.split())  # the table breaks long names
    main(["search", "index", "--text", said[3], "--top", "1"])
    assert videos[3].name in "".join(capsys.readouterr().out.split())


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
