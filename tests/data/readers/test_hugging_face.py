import pytest

from sensorium.data.readers import ReaderError, read

datasets = pytest.importorskip("datasets")


@pytest.fixture
def dataset(tmp_path, picture, sound):
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "speech": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
            "captions": datasets.List(datasets.Value("string")),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "source": datasets.Value("string"),
        }
    )
    rows = {
        "image": [str(picture(tmp_path / f"{n}.png", (n, n, n))) for n in range(4)],
        "speech": [{"bytes": sound(tmp_path / "a.wav").read_bytes(), "path": "a.wav"}, None, None, None],
        "captions": [[f"number {n}", f"no. {n}"] for n in range(4)],
        "label": [0, 1, -1, 1],
        "source": ["mine"] * 4,
    }
    # Made of bytes and only then declared as sound, since the library needs a decoder to take it in at once.
    return datasets.Dataset.from_dict(rows, features=features).cast_column("speech", datasets.Audio())


def check(samples):
    assert len(samples) == 4
    for n, sample in enumerate(samples):
        assert sample.modality == {"image": "image", "speech": "audio", "captions": "text"}
        assert (sample.columns["image"].decode() == n).all()
        assert sample.columns["captions"] == f"number {n}"
        assert sample.meanings == (f"captions:number {n}", f"captions:no. {n}")
        assert sample.fields["label"] == ["cat", "dog", None, "dog"][n]
        assert sample.fields["source"] == "mine"
    assert samples[0].columns["speech"].decode().rate == 16_000
    assert "speech" not in samples[1].columns


def test_data_sets(dataset):
    samples = read(dataset.with_format("numpy"))
    check(samples)
    assert [sample.id for sample in samples] == ["0", "1", "2", "3"]
    assert [sample.id for sample in samples[1:3]] == ["1", "2"]
    assert samples[-1].id == "3"
    with pytest.raises(IndexError):
        samples[4]
    assert [s.id for s in read(dataset.rename_column("source", "key"), id="key")] == ["mine"] * 4


def test_streams(dataset, monkeypatch):
    from torch.utils.data import DataLoader

    stream = dataset.to_iterable_dataset(num_shards=4)
    check(list(read(stream)))
    loaded = list(DataLoader(read(stream), batch_size=None, num_workers=2))
    assert sorted(sample.columns["captions"] for sample in loaded) == [f"number {n}" for n in range(4)]
    assert len({sample.id for sample in loaded}) == 4
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    mine = [sample.columns["captions"] for sample in read(stream)]
    assert len(mine) == 2
    monkeypatch.setenv("RANK", "0")
    assert sorted(mine + [s.columns["captions"] for s in read(stream)]) == [f"number {n}" for n in range(4)]


def test_streams_without_features(dataset):
    rows = [{"text": f"line {n}", "n": n} for n in range(3)]
    samples = list(read(datasets.IterableDataset.from_generator(lambda: iter(rows))))
    assert [(sample.columns["text"], sample.fields["n"]) for sample in samples] == [
        (f"line {n}", n) for n in range(3)
    ]


def test_a_split_must_be_chosen(tmp_path, dataset):
    with pytest.raises(
        ReaderError, match=r"got splits \['train', 'test'\]; expected one of them, such as .*'train'"
    ):
        read(datasets.DatasetDict({"train": dataset, "test": dataset}))
    dataset.save_to_disk(tmp_path / "saved")
    with pytest.raises(ReaderError, match="written by save_to_disk"):
        read(tmp_path / "saved")
    with pytest.raises(ReaderError, match=r"has no column \['picture'\]"):
        read(dataset, {"picture": "image"})
