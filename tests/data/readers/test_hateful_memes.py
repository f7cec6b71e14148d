import json

import pytest

from sensorium.data.readers import ReaderError, read, read_hateful_memes


@pytest.fixture
def memes(tmp_path, picture):
    """`memes(train=[row, …], test=[…])`, with a picture each."""

    def write(**parts):
        root = tmp_path / "hateful_memes"
        (root / "img").mkdir(parents=True, exist_ok=True)
        for part, rows in parts.items():
            for row in rows:
                if ".." not in row.get("img", ".."):
                    picture(root / row["img"], (row["id"], 0, 0))
            (root / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return root

    return write


def meme(id, label=None, **more):
    return {
        "id": id,
        "img": f"img/{id:05d}.png",
        "text": f"words of {id}",
        **({} if label is None else {"label": label}),
        **more,
    }


def test_parts(memes):
    samples = read_hateful_memes(memes(test=[meme(3)], train=[meme(12, 1), meme(7, 0)], dev=[meme(5, 1)]))
    assert [(s.id, s.fields) for s in samples] == [
        ("12", {"label": "yes", "split": "train", "part": "train"}),
        ("7", {"label": "no", "split": "train", "part": "train"}),
        ("5", {"label": "yes", "split": "validation", "part": "dev"}),
        ("3", {"label": None, "split": "test", "part": "test"}),
    ]
    assert samples[0].columns["text"] == "words of 12"
    assert samples[0].modality == {"image": "image", "text": "text"}
    assert samples[0].columns["image"].decode()[0, 0].tolist() == [12, 0, 0]


def test_a_meme_of_two_development_files_is_read_once(memes):
    root = memes(train=[meme(1, 0)], dev_seen=[meme(2, 1)], dev_unseen=[meme(2, 1), meme(3, 0)])
    samples = read_hateful_memes(root)
    assert [(s.id, s.fields["part"]) for s in samples] == [
        ("1", "train"),
        ("2", "dev_seen"),
        ("3", "dev_unseen"),
    ]
    assert samples.skipped == (("dev_unseen.jsonl:1", "the meme 2 also stands in dev_seen.jsonl"),)
    assert [s.id for s in read_hateful_memes(root, parts=["dev_unseen"])] == ["2", "3"]


def test_a_meme_that_is_trained_and_tested_on_is_an_error(memes):
    with pytest.raises(ReaderError, match="'2' is listed twice"):
        read_hateful_memes(memes(train=[meme(2, 0)], test=[meme(2)]))
    with pytest.raises(ReaderError, match="'2' is listed twice"):
        read_hateful_memes(memes(train=[meme(2, 0), meme(2, 0)], test=[]), parts=["train"])


def test_bad_rows(memes):
    with pytest.raises(
        ReaderError, match=r"train\.jsonl:1: got the label 2; expected one of \[1, '1', 0, '0'\]"
    ):
        read_hateful_memes(memes(train=[meme(1, 2)]))
    with pytest.raises(ReaderError, match=r"train\.jsonl:1, image: '\.\./\.\./secret\.png' leads out of"):
        read_hateful_memes(memes(train=[meme(1, 0, img="../../secret.png")]))
    with pytest.raises(ReaderError, match=r"train\.jsonl:1: no img in \['id', 'text'\]"):
        read_hateful_memes(memes(train=[{"id": 1, "text": "a"}]))


def test_parts_that_are_not_there(memes):
    root = memes(train=[meme(1, 0)])
    with pytest.raises(ReaderError, match="no part dev; there are train"):
        read_hateful_memes(root, parts=["dev"])
    with pytest.raises(ReaderError, match=r"got the text 'train'; expected a list such as \['train'\]"):
        read_hateful_memes(root, parts="train")


def test_read_finds_it_and_another_folder_says_what_is_missing(memes, tmp_path):
    root = memes(train=[meme(1, 1)])
    assert read(root)[0].fields["label"] == "yes"
    assert [s.id for s in read(root, parts=["train"])] == ["1"]
    with pytest.raises(
        ReaderError, match=r"img/ is missing, so this is not Hateful Memes; found hateful_memes/;"
    ):
        read_hateful_memes(tmp_path)
    (root / "train.jsonl").unlink()
    with pytest.raises(
        ReaderError, match=r"train\.jsonl is missing.*found img/; expected hateful_memes/\{train"
    ):
        read_hateful_memes(root)


def test_a_list_that_is_something_else_is_not_taken_for_it(tmp_path, picture):
    picture(tmp_path / "img" / "a.png")
    (tmp_path / "train.jsonl").write_text('{"image": "img/a.png"}\n')
    assert [s.id for s in read(tmp_path)] == ["img/a.png"]
