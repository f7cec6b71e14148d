from pathlib import Path

import av
import numpy as np
import pytest

from sensorium.data.readers import ReaderError, read, read_mosi
from sensorium.media import MediaError

RATE = 16_000
HEADER = "video_id,clip_id,text,label,annotation,mode\n"


def clip(path: Path, red: int = 200, seconds: float = 0.5) -> None:
    """A clip of one red with a tone of 440 Hz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=8)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 16, "yuv420p"
        track = container.add_stream("aac", rate=RATE, layout="mono")
        for _ in range(round(seconds * 8)):
            frame = np.zeros((16, 32, 3), np.uint8)
            frame[..., 0] = red
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(pictures.encode())
        tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
        sound = av.AudioFrame.from_ndarray(tone.astype(np.float32)[None], "fltp", "mono")
        sound.sample_rate = RATE
        container.mux(track.encode(sound))
        container.mux(track.encode())


@pytest.fixture
def mosi(tmp_path):
    def write(rows: str, header: str = HEADER) -> Path:
        root = tmp_path / "MOSI"
        (root / "Raw").mkdir(parents=True, exist_ok=True)
        (root / "label.csv").write_text(header + rows, encoding="utf-8-sig")
        return root

    return write


def test_clips(mosi):
    root = mosi(
        '03bSn,1,"ANYHOW, it was really good",2.4,Positive,train\n'
        "03bSn,10,,0,Neutral,valid\n"
        "-_x,2,I hated it,-1.2000000476837158,Negative,test\n"
    )
    clip(root / "Raw" / "03bSn" / "1.mp4")
    samples = read_mosi(root)
    assert [s.id for s in samples] == ["03bSn/1", "03bSn/10", "-_x/2"]
    assert samples[0].fields == {
        "sentiment": 2.4,
        "polarity": "positive",
        "split": "train",
        "video_id": "03bSn",
        "clip_id": "1",
    }
    assert samples[0].modality == {"video": "video", "audio": "audio", "text": "text"}
    assert samples[0].columns["text"] == "ANYHOW, it was really good"
    assert samples[0].meanings == ("text:anyhow, it was really good",)
    assert [(s.fields["polarity"], s.fields["split"]) for s in samples] == [
        ("positive", "train"),
        ("neutral", "validation"),
        ("negative", "test"),
    ]
    assert set(samples[1].columns) == {"video", "audio"}
    assert samples[2].fields["sentiment"] == pytest.approx(-1.2)

    video = samples[0].columns["video"].decode(frames=2)
    assert video.frames.shape == (2, 16, 32, 3)
    assert abs(video.frames[..., 0].mean() - 200) < 12
    assert video.frames[..., 1].mean() < 20
    sound = samples[0].columns["audio"].decode(rate=RATE).samples
    spectrum = np.abs(np.fft.rfft(sound[:4000]))
    assert spectrum.argmax() * RATE / 4000 == pytest.approx(440, abs=8)
    with pytest.raises(MediaError, match=r"10\.mp4"):
        samples[1].columns["video"].decode()


def test_sims_has_the_sentiment_of_each_modality(mosi):
    root = mosi(
        "video_0001,0001,很好,0.6,1.0,0.2,-0.4,Positive,train\n",
        "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n",
    )
    [sample] = read_mosi(root)
    assert sample.id == "video_0001/0001"
    assert sample.columns["video"].path == root / "Raw" / "video_0001" / "0001.mp4"
    names = ("sentiment", "text_sentiment", "audio_sentiment", "video_sentiment")
    assert [sample.fields[name] for name in names] == [0.6, 1.0, 0.2, -0.4]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            "a,1,hi,3.5,Positive,train",
            r"label\.csv:2: got the sentiment '3.5'; expected a number from -3 to 3",
        ),
        ("a,1,hi,good,Positive,train", "got the sentiment 'good'"),
        ("a,1,hi,nan,Positive,train", "got the sentiment 'nan'"),
        ("a,1,hi,1,Positive,holdout", "got the split 'holdout'"),
        ("a,,hi,1,Positive,train", "nothing in clip_id"),
        ("../../..,1,hi,1,Positive,train", "leads out of"),
        ("a,1,hi,1,Positive,train\na,1,ho,1,Positive,train", "'a/1' is listed twice"),
    ],
)
def test_bad_rows(mosi, row, said):
    with pytest.raises(ReaderError, match=said):
        read_mosi(mosi(f"{row}\n"))


class Trap:
    """Unpickling it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("read_it", [read_mosi, read])
def test_pickles_are_refused_unopened(tmp_path, read_it):
    import pickle

    sprung = tmp_path / "sprung"
    file = tmp_path / "aligned_50.pkl"
    file.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ReaderError, match=r"aligned_50\.pkl not opened, since a pickle runs .*label\.csv"):
        read_it(file)
    with pytest.raises(ReaderError, match=r"aligned_50\.pkl not opened"):
        read_mosi(tmp_path)
    assert not sprung.exists()
    pickle.loads(file.read_bytes())  # the trap does work
    assert sprung.exists()


def test_features_in_a_table_are_read_as_the_error_about_pickles_says(tmp_path):
    file = tmp_path / "features.jsonl"
    file.write_text(
        '{"text": "hi", "audio": [0.5, 1], "video": [2, 3, 4], "sentiment": -1.5, "split": "train"}\n'
    )
    [sample] = read(file, columns={"text": "text", "audio": "state", "video": "state"})
    assert sample.columns["audio"].tolist() == [0.5, 1]
    assert sample.columns["video"].dtype == np.float32
    assert sample.fields == {"sentiment": -1.5, "split": "train"}


def test_read_finds_it_and_another_folder_says_what_is_missing(mosi, tmp_path):
    root = mosi("a,1,hi,1,Positive,train\n")
    assert read(root)[0].fields["polarity"] == "positive"
    (root / "Raw").rmdir()
    with pytest.raises(
        ReaderError, match=r"Raw/ is missing.*found label\.csv; expected MOSI/\{label\.csv, Raw/"
    ):
        read_mosi(root)
    with pytest.raises(ReaderError, match=r"label\.csv is missing, so this is not CMU-MOSI.*found MOSI/;"):
        read_mosi(tmp_path)
