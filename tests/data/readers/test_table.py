import pickle

import numpy as np
import pytest

from sensorium.data.readers import ReaderError, read, read_table
from sensorium.media import MediaError


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def test_jsonl(tmp_path, picture):
    picture(tmp_path / "pictures" / "1.png")
    file = write(
        tmp_path / "pairs.jsonl",
        '{"id": "a", "image": "pictures/1.png", "caption": "A  Fish", "label": 3, "state": [1, 2.5]}\n'
        '\n{"id": "b", "caption": null, "image": "pictures/2.png", "language": "fr"}\n',
    )
    first, second = read(file)
    assert first.modality == {"image": "image", "caption": "text", "state": "state"}
    assert (first.id, first.columns["caption"], first.meanings) == ("a", "A  Fish", ("caption:a fish",))
    assert first.columns["image"].decode().shape == (3, 4, 3)
    assert first.columns["state"].dtype == np.float32
    assert first.columns["state"].tolist() == [1, 2.5]
    assert first.fields == {"label": 3}
    assert set(second.columns) == {"image"}
    assert second.fields == {"language": "fr"}
    assert second.modality == first.modality


def test_all_kinds_say_the_same(tmp_path, picture):
    picture(tmp_path / "1.png")
    picture(tmp_path / "2.png")
    files = [
        write(tmp_path / "a.csv", 'image,text,year\n1.png,"One, two",1999\n2.png,,\n'),
        write(tmp_path / "a.tsv", "\ufeffimage\ttext\tyear\r\n1.png\tOne, two\t1999\r\n2.png\r\n"),
        write(
            tmp_path / "a.json",
            '[{"image": "1.png", "text": "One, two", "year": "1999"}, {"image": "2.png"}]',
        ),
        write(
            tmp_path / "a.ndjson", '{"image":"1.png","text":"One, two","year":"1999"}\n{"file_name":"2.png"}'
        ),
    ]
    for file in files:
        first, second = read(file)
        assert first.columns["text"] == "One, two"
        assert first.fields == {"year": "1999"}
        assert second.columns["image"].path == tmp_path / "2.png"
        assert set(second.columns) == {"image"}
    assert [sample.id for sample in read(files[0])] == ["a.csv:2", "a.csv:3"]
    assert [sample.id for sample in read(files[3])] == ["a.ndjson:1", "a.ndjson:2"]


def test_declared_columns_and_hugging_face_names(tmp_path):
    file = write(tmp_path / "a.jsonl", '{"left_file_name": "l.png", "right_file_name": "r.png", "name": "x"}')
    [sample] = read_table(file)
    assert {name: source.path.name for name, source in sample.columns.items()} == {
        "left": "l.png",
        "right": "r.png",
    }
    [sample] = read_table(file, {"name": "text"}, meanings=["name"])
    assert sample.columns == {"name": "x"}
    assert sample.meanings == ("name:x",)


def test_lists_of_captions(tmp_path):
    file = write(tmp_path / "a.jsonl", '{"image": "1.png", "captions": ["a dog", "", "A Dog", "it runs"]}')
    [sample] = read_table(file)
    assert sample.columns["captions"] == "a dog"
    assert sample.fields["captions"] == ["a dog", "A Dog", "it runs"]
    assert sample.meanings == ("captions:a dog", "captions:it runs")


@pytest.mark.parametrize("path", ["../secret.png", "/etc/secret.png", "a/../../secret.png"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, picture, path):
    picture(tmp_path / "secret.png")
    (tmp_path / "data").mkdir()
    file = write(tmp_path / "data" / "a.jsonl", f'{{"image": "{path}", "text": "x"}}')
    with pytest.raises(ReaderError, match=r"a\.jsonl:1, image: '.*' leads out of .*allow_outside=True"):
        read_table(file)
    assert read_table(file, allow_outside=True)[0].columns["image"].path.name == "secret.png"


def test_a_link_that_leaves_the_folder_is_refused_when_it_is_opened(tmp_path, picture):
    picture(tmp_path / "secret.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").symlink_to(tmp_path / "secret.png")
    file = write(tmp_path / "data" / "a.jsonl", '{"image": "a.png", "text": "x"}')
    with pytest.raises(MediaError, match="leads out of its folder"):
        read_table(file)[0].columns["image"].decode()
    assert read_table(file, allow_outside=True)[0].columns["image"].decode().shape == (3, 4, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "x"}\n{"text": ', r"a\.jsonl:2: not JSON .*expected one JSON object a line"),
        ("a.jsonl", '["x"]', r"a\.jsonl:1: got a JSON list; expected an object"),
        ("a.json", '{"text": "x"}', "got a JSON dict; expected a list of objects"),
        ("a.csv", "text,year\na,b,c\n", r"a\.csv:2: got 3 cells; expected 2 .*double quotes"),
        ("a.csv", "text,text\na,b\n", "two columns have one name"),
        ("a.csv", 'text\n"open', r"a\.csv:2: .*expected CSV"),
        ("a.csv", "text\n", "expected at least one row"),
        ("a.jsonl", '{"image": "http://x.org/a.png"}', "got the address .*readers fetch nothing"),
        ("a.jsonl", '{"id": 1, "text": "x"}\n{"id": 1, "text": "y"}', "two rows have the id '1'"),
        ("a.jsonl", '{"name": "x"}', r"no column of media among \['name'\]; .*columns=\{'name': 'image'\}"),
        ("a.jsonl", '{"text": "x", "image": 3, "state": ["a"]}', "XX"),
        ("a.parq", "x", "expected a file ending in .jsonl"),
    ],
)
def test_errors_say_where_and_what_to_do(tmp_path, name, content, message):
    file = write(tmp_path / name, content)
    if message == "XX":
        with pytest.raises(
            ReaderError, match=r"a\.jsonl:1, image: got 3; expected the path or bytes of one image"
        ):
            read_table(file, {"image": "image"})
        with pytest.raises(ReaderError, match=r"state: got \['a'\]; expected a list of numbers"):
            read_table(file, {"state": "state"})
    else:
        with pytest.raises(ReaderError, match=message):
            read_table(file)


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text\n\xff\n")
    with pytest.raises(ReaderError, match="byte 5 is not UTF-8"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(ReaderError, match="cannot be opened"):
        read_table(tmp_path / "b.csv")


def test_rows_can_be_numbered_and_samples_pickle(tmp_path):
    file = write(tmp_path / "a.jsonl", '{"id": 1, "text": "x"}\n{"id": 1, "text": "y"}')
    samples = read_table(file, id=None)
    assert [sample.id for sample in samples] == ["a.jsonl:1", "a.jsonl:2"]
    assert pickle.loads(pickle.dumps(samples)) == samples


def test_read_takes_nothing_else(tmp_path):
    with pytest.raises(ReaderError, match="got int; expected a path"):
        read(3)
    with pytest.raises(ReaderError, match="files of several kinds"):
        read(["a.tar", "b.parquet"])
