import pickle

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from sensorium.data.readers import ReaderError, read, read_parquet


@pytest.fixture
def files(tmp_path, picture, sound):
    data = {n: picture(tmp_path / f"{n}.png", (n, n, n)).read_bytes() for n in range(10)}
    voice = sound(tmp_path / "v.wav").read_bytes()
    for part, numbers in (("a", range(6)), ("b", range(6, 10))):
        table = pyarrow.table(
            {
                "key": [f"thing-{n}" for n in numbers],
                "picture": [data[n] for n in numbers],
                "speech": [voice if n % 2 else None for n in numbers],
                "photo": [{"bytes": data[n], "path": None} for n in numbers],
                "file": [f"{n}.png" for n in numbers],
                "caption": [f"Number {n}" for n in numbers],
                "licence": ["CC0" for _ in numbers],
            }
        )
        pyarrow.parquet.write_table(table, tmp_path / f"{part}.parquet", row_group_size=4)
    return [tmp_path / "a.parquet", tmp_path / "b.parquet"]


def test_rows(files):
    samples = read_parquet(files, id="key")
    assert len(samples) == 10
    assert samples[0].modality == {
        "picture": "image",
        "speech": "audio",
        "photo": "image",
        "file": "image",
        "caption": "text",
    }
    for n, sample in enumerate(samples):
        assert sample.id == f"thing-{n}"
        for column in ("picture", "photo", "file"):
            assert (sample.columns[column].decode() == n).all()
        assert ("speech" in sample.columns) == bool(n % 2)
        assert sample.meanings == (f"caption:number {n}",)
        assert sample.fields == {"licence": "CC0"}
    assert samples[-1].id == "thing-9"
    assert [sample.id for sample in samples[5:7]] == ["thing-5", "thing-6"]
    with pytest.raises(IndexError):
        samples[10]
    assert [sample.id for sample in read(files)][4:8] == [
        "a.parquet:4",
        "a.parquet:5",
        "b.parquet:0",
        "b.parquet:1",
    ]


def test_row_groups_are_read_lazily_and_once(files, monkeypatch):
    read_groups = []
    whole = pyarrow.parquet.ParquetFile.read_row_group
    monkeypatch.setattr(
        pyarrow.parquet.ParquetFile,
        "read_row_group",
        lambda self, number, **options: read_groups.append(number) or whole(self, number, **options),
    )
    monkeypatch.setattr("sensorium.data.readers.parquet.KEPT_BYTES", 0)
    samples = read_parquet(files)
    assert read_groups == [0]
    assert len(list(samples)) == 10
    assert read_groups == [0, 1, 0]
    read_groups.clear()
    order = samples.order(0, 1, 10)
    assert sorted(order) == list(range(10))
    assert [samples[place].fields["key"] for place in order] == [f"thing-{place}" for place in order]
    assert len(read_groups) <= 3
    assert not np.array_equal(order, samples.order(0, 2, 10))
    there = pickle.loads(pickle.dumps(samples))
    assert there[7].columns["caption"] == "Number 7"


def test_hugging_face_files_say_what_they_hold(tmp_path, picture):
    import datasets

    features = datasets.Features(
        {
            "x": datasets.Image(),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
            "text": datasets.Value("string"),
        }
    )
    rows = {"x": [str(picture(tmp_path / "1.png"))], "kind": [1], "text": ["hi"]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    [sample] = read(tmp_path / "a.parquet")
    assert sample.modality == {"x": "image", "text": "text"}
    assert sample.fields == {"kind": "dog"}
    assert sample.columns["x"].decode().shape == (3, 4, 3)


def test_errors(tmp_path, files):
    with pytest.raises(ReaderError, match=r"6 rows have the licence 'CC0'; expected unique ids"):
        read_parquet(files[0], id="licence")
    other = tmp_path / "c.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x"]}), other)
    with pytest.raises(ReaderError, match="read files of different columns apart"):
        read_parquet([files[0], other])
    (tmp_path / "d.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ReaderError, match="cannot be read as Parquet"):
        read_parquet(tmp_path / "d.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"image": ["../x.png"], "text": ["x"]}), tmp_path / "e.parquet")
    with pytest.raises(ReaderError, match="leads out of"):
        read_parquet(tmp_path / "e.parquet")[0]
    pyarrow.parquet.write_table(
        pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "f.parquet"
    )
    with pytest.raises(ReaderError, match="expected at least one row"):
        read_parquet(tmp_path / "f.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReaderError, match="no Parquet file in"):
        read_parquet(tmp_path / "empty")


def test_a_folder_of_parquet_files(tmp_path, files):
    folder = tmp_path / "rows"
    folder.mkdir()
    files[0].rename(folder / "a.parquet")
    files[1].rename(folder / "b.parquet")
    assert len(read(folder, {"picture": "image"})) == 10
