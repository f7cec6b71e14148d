import pytest

from sensorium.data.readers import ReaderError, read, read_folder
from sensorium.data.readers.mvsa import combined, majority, read_mvsa, tweet
from sensorium.media import MediaError, Source

FIELDS = ("sentiment", "text_sentiment", "image_sentiment")


@pytest.fixture
def mvsa(tmp_path, picture):
    """`mvsa(labels, {id: bytes of the text})`."""

    def write(labels, texts):
        root = tmp_path / "MVSA"
        for id, text in texts.items():
            picture(root / "data" / f"{id}.jpg", size=(8, 6))
            (root / "data" / f"{id}.txt").write_bytes(text)
        (root / "labelResultAll.txt").write_text(labels)
        return root

    return write


def test_single(mvsa):
    root = mvsa(
        "ID\ttext,image\n1\tpositive,positive\n2\tneutral,negative\n4\tpositive,negative\n3\tnegative,neutral\r\n",
        {"1": b"Good morning", "2": "caf\u00e9 \u2615".encode(), "3": b"RT", "4": b"hm"},
    )
    samples = read_mvsa(root)
    assert [(s.id, s.columns["text"]) for s in samples] == [
        ("1", "Good morning"),
        ("2", "café ☕"),
        ("4", "hm"),
        ("3", "RT"),
    ]
    assert [tuple(s.fields[name] for name in FIELDS) for s in samples] == [
        ("positive", "positive", "positive"),
        ("negative", "neutral", "negative"),
        (None, "positive", "negative"),
        ("negative", "negative", "neutral"),
    ]
    assert set(samples[0].fields) == set(FIELDS)
    assert samples[0].modality == {"image": "image", "text": "text"}
    assert samples[0].meanings == ("text:good morning",)
    assert samples[3].columns["image"].decode().shape == (6, 8, 3)


def test_multiple_takes_what_two_of_three_say(mvsa):
    root = mvsa(
        "ID\ttext,image\ttext,image\ttext,image\n"
        "1\tpositive,neutral\tpositive,neutral\tnegative,positive\n"
        "2\tpositive,positive\tneutral,positive\tnegative,positive\n",
        {"1": b"a", "2": b"b"},
    )
    assert [tuple(s.fields[name] for name in FIELDS) for s in read_mvsa(root)] == [
        ("positive", "positive", "neutral"),
        (None, None, "positive"),
    ]


@pytest.mark.parametrize(
    ("text", "image", "both"),
    [
        ("positive", "positive", "positive"),
        ("neutral", "neutral", "neutral"),
        ("neutral", "negative", "negative"),
        ("positive", "neutral", "positive"),
        ("negative", "positive", None),
        (None, "positive", None),
        ("neutral", None, None),
    ],
)
def test_the_rule_of_xu_and_mao(text, image, both):
    assert combined(text, image) == both


def test_majority_is_more_than_half():
    assert majority(["neutral"]) == "neutral"
    assert majority(["neutral", "positive", "neutral"]) == "neutral"
    assert majority(["neutral", "positive"]) is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("\ufeffUTF-8 “quoted” 🙂".encode(), "UTF-8 “quoted” 🙂"),
        ("🙂 is cut off: 🙂".encode()[:-1], "🙂 is cut off: \ufffd"),
        ("it’s GB：你好".encode("gb2312"), "it’s GB：你好"),
        ("café, naïve and «so»".encode("cp1252"), "café, naïve and «so»"),
        ("it’s".encode("cp1252"), "it’s"),
        (b"odd \x81 byte", "odd \ufffd byte"),
        (b" plain\x00\x07 text\r\n", "plain text"),
        (b"", ""),
    ],
)
def test_texts_in_every_encoding_that_copies_have(data, text):
    assert tweet(data) == text


def test_texts_that_are_missing_or_empty(mvsa):
    root = mvsa("1\tpositive,positive\n2\tneutral,neutral\n", {"1": b" \r\n", "2": b"x"})
    (root / "data" / "2.txt").unlink()
    (root / "data" / "2.jpg").unlink()
    empty, gone = read_mvsa(root)
    assert set(empty.columns) == {"image"}
    assert isinstance(gone.columns["text"], Source)
    for column in ("text", "image"):
        with pytest.raises(MediaError):
            gone.columns[column].decode()


@pytest.mark.parametrize("bad", ["1\tpositive", "1\tgood,bad", "1", "1\tpositive,neutral\tpositive,neutral"])
def test_labels_that_do_not_exist(mvsa, bad):
    root = mvsa(f"ID\ttext,image\n7\tneutral,neutral\n{bad}\n", {"1": b"a", "7": b"b"})
    with pytest.raises(
        ReaderError, match=r"labelResultAll.txt:3: got '1.*expected an id, a tab and 1 × text"
    ):
        read_mvsa(root)


def test_ids_that_lead_out_and_twice(mvsa, picture):
    picture(mvsa("../../secret\tneutral,neutral\n", {"1": b"a"}).parent / "secret.jpg")
    with pytest.raises(ReaderError, match="leads out of"):
        read_mvsa(mvsa("../../secret\tneutral,neutral\n", {"1": b"a"}))
    with pytest.raises(ReaderError, match="'1' is listed twice"):
        read_mvsa(mvsa("1\tneutral,neutral\n1\tneutral,neutral\n", {"1": b"a"}))


def test_a_text_that_is_a_link_out_of_the_folder_is_not_read(mvsa, tmp_path):
    root = mvsa("1\tneutral,neutral\n", {"1": b"a"})
    (tmp_path / "secret.txt").write_text("the password")
    (root / "data" / "1.txt").unlink()
    (root / "data" / "1.txt").symlink_to(tmp_path / "secret.txt")
    [sample] = read_mvsa(root)
    assert isinstance(sample.columns["text"], Source)
    with pytest.raises(MediaError, match="leads out of its folder"):
        sample.columns["text"].decode()
    assert read_mvsa(root, allow_outside=True)[0].columns["text"] == "the password"


def test_read_finds_it_and_another_folder_says_what_is_missing(mvsa, tmp_path):
    root = mvsa("1\tneutral,positive\n", {"1": b"a"})
    assert read(root)[0].fields["sentiment"] == "positive"
    assert read(root, {"image": "image"})[0].id == read_folder(root)[0].id == "data/1.jpg"
    with pytest.raises(ReaderError) as error:
        read_mvsa(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: labelResultAll.txt is missing, so this is not MVSA; found MVSA/; expected "
        "MVSA_Single/{labelResultAll.txt, data/{1.jpg, 1.txt, 2.jpg, 2.txt, …}}"
    )
    with pytest.raises(ReaderError, match="nowhere: no such folder; expected MVSA laid out as"):
        read_mvsa(tmp_path / "nowhere")
    with pytest.raises(
        ReaderError, match=r"labelResultAll\.txt: a file, not a folder; expected MVSA laid out as"
    ):
        read_mvsa(root / "labelResultAll.txt")
