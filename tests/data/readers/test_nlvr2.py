import json

import pytest

from sensorium.data.readers import ReaderError, read, read_nlvr2
from sensorium.media import MediaError


def row(identifier, label=None, **more):
    return {
        "identifier": identifier,
        "sentence": f"Sentence of {identifier}.",
        "left_url": "https://example.org/l.jpg",
        "right_url": "https://example.org/r.jpg",
        **({} if label is None else {"label": label}),
        **more,
    }


@pytest.fixture
def nlvr2(tmp_path):
    def write(lists="", **parts):
        root = tmp_path / "nlvr2"
        (root / lists).mkdir(parents=True, exist_ok=True)
        for part, rows in parts.items():
            (root / lists / f"{part}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return root

    return write


@pytest.mark.parametrize("lists", ["", "data"])
def test_pairs(nlvr2, picture, lists):
    root = nlvr2(
        lists,
        dev=[row("dev-850-0-0", "False"), row("dev-850-0-1", "True")],
        train=[row("train-10171-3-0", "True", directory=64, synset="acorn", query="acorns1", writer=3)],
        test1=[row("test1-0-1-0")],
    )
    picture(root / "images" / "train" / "64" / "train-10171-3-img0.png", (255, 0, 0))
    picture(root / "images" / "train" / "64" / "train-10171-3-img1.png", (0, 0, 255))
    picture(root / "dev" / "dev-850-0-img0.png")
    samples = read_nlvr2(root)
    assert [(s.id, s.fields["label"], s.fields["split"], s.fields["part"]) for s in samples] == [
        ("train-10171-3-0", "yes", "train", "train"),
        ("dev-850-0-0", "no", "validation", "dev"),
        ("dev-850-0-1", "yes", "validation", "dev"),
        ("test1-0-1-0", None, "test", "test1"),
    ]
    first = samples[0]
    assert first.modality == {"left": "image", "right": "image", "text": "text"}
    assert first.columns["text"] == "Sentence of train-10171-3-0."
    assert first.fields | {"synset": "acorn", "query": "acorns1", "writer": 3} == first.fields
    assert first.meanings == ()
    assert [first.columns[side].decode()[0, 0].tolist() for side in ("left", "right")] == [
        [255, 0, 0],
        [0, 0, 255],
    ]
    assert {s.columns["left"].path for s in samples[1:3]} == {root / "dev" / "dev-850-0-img0.png"}
    with pytest.raises(MediaError, match=r"dev-850-0-img1\.png"):
        samples[1].columns["right"].decode()


def test_train_pictures_may_lie_without_their_directories(nlvr2, picture):
    root = nlvr2(train=[row("train-1-0-0", "True", directory=64)])
    picture(root / "images" / "train-1-0-img0.png")
    [sample] = read_nlvr2(root)
    assert sample.columns["left"].path == root / "images" / "train-1-0-img0.png"
    assert sample.columns["left"].decode().shape == (3, 4, 3)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row("../../../../../secret-1-0-0", "True"), r"dev\.json:1, left: .*leads out of"),
        (row("dev-1", "True"), "got the identifier 'dev-1'; expected split-set-pair-sentence"),
        (row("dev-1-0-0", "maybe"), "got the label 'maybe'"),
        ({"identifier": "dev-1-0-0"}, "no sentence in identifier"),
    ],
)
def test_bad_rows(nlvr2, bad, said):
    with pytest.raises(ReaderError, match=said):
        read_nlvr2(nlvr2(dev=[bad]))


def test_read_finds_it_and_another_folder_says_what_is_missing(nlvr2, tmp_path):
    root = nlvr2(dev=[row("dev-1-0-0", "True")], test1=[row("test1-1-0-0", "False")])
    assert [s.fields["label"] for s in read(root, parts=["test1"])] == ["no"]
    with pytest.raises(ReaderError, match="no part train; there are dev, test1"):
        read_nlvr2(root, parts=["train"])
    with pytest.raises(
        ReaderError, match=r"train\.json, dev\.json or test1\.json is missing, so this is not NLVR2; fo"
    ):
        read_nlvr2(tmp_path)
