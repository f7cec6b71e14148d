import pytest

from sensorium.data.readers import ReaderError, read, read_esc50

HEADER = "filename,fold,target,category,esc10,src_file,take\n"
ROWS = (
    "1-100032-A-0.wav,1,0,dog,True,100032,A\n"
    "2-100038-A-14.wav,2,14,chirping_birds,False,100038,A\n"
    "5-9032-B-0.wav,5,0,dog,True,9032,B\n"
)


@pytest.fixture
def esc50(tmp_path, sound):
    def write(rows=ROWS, header=HEADER):
        root = tmp_path / "ESC-50-master"
        (root / "meta").mkdir(parents=True, exist_ok=True)
        (root / "meta" / "esc50.csv").write_text(header + rows)
        for row in rows.splitlines():
            if ".." not in row:
                sound(root / "audio" / row.split(",")[0], seconds=0.25)
        return root

    return write


def test_clips(esc50):
    samples = read_esc50(esc50())
    assert samples[0].fields == {
        "category": "dog",
        "fold": 1,
        "split": "train",
        "esc10": True,
        "take": "A",
        "src_file": "100032",
    }
    assert [(s.id, s.fields["category"], s.fields["esc10"], s.fields["split"]) for s in samples] == [
        ("1-100032-A-0.wav", "dog", True, "train"),
        ("2-100038-A-14.wav", "chirping_birds", False, "train"),
        ("5-9032-B-0.wav", "dog", True, "test"),
    ]
    assert samples[0].modality == {"audio": "audio"}
    assert samples[0].meanings == samples[2].meanings == ("category:dog",)
    assert samples[1].columns["audio"].decode(rate=16_000).samples.shape == (4000,)


def test_folds(esc50):
    root = esc50()
    assert [s.fields["split"] for s in read_esc50(root, test_fold=1)] == ["test", "train", "train"]
    assert all("split" not in s.fields for s in read_esc50(root, test_fold=None))
    assert [s.fields["fold"] for s in read_esc50(root, folds=(2, 5))] == [2, 5]
    assert [s.fields["fold"] for s in read_esc50(root, esc10=True)] == [1, 5]
    with pytest.raises(ReaderError, match="no fold 6; there are 1, 2, 5"):
        read_esc50(root, folds=(1, 6))
    with pytest.raises(ReaderError, match="no fold 3; there are 1, 2, 5"):
        read_esc50(root, test_fold=3)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            "../../secret.wav,5,0,dog,True,1,A",
            r"esc50\.csv:2, audio: 'audio/\.\./\.\./secret\.wav' leads out of",
        ),
        ("a.wav,five,0,dog,True,1,A", "got the fold 'five'; expected a number from 1 to 5"),
        ("a.wav,5,0,,True,1,A", "nothing in category"),
        ("a.wav,5,0,dog,True,1,A\na.wav,5,0,dog,True,1,A", r"'a\.wav' is listed twice"),
    ],
)
def test_bad_rows(esc50, row, said):
    with pytest.raises(ReaderError, match=said):
        read_esc50(esc50(f"{row}\n"))


def test_read_finds_it_and_another_folder_says_what_is_missing(esc50, tmp_path):
    root = esc50()
    assert [s.fields["category"] for s in read(root, folds=[5])] == ["dog"]
    with pytest.raises(
        ReaderError, match=r"meta/esc50\.csv is missing.*found 1-100032-A-0\.wav, .*expected ESC-50/"
    ):
        read_esc50(root / "audio")
