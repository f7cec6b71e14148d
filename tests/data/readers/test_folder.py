import pytest

from sensorium.data.readers import ReaderError, read, read_folder
from sensorium.media import MediaError, Source


def test_sub_folders_are_labels(tmp_path, picture):
    for name in ("cat/1.png", "cat/2.jpg", "dog/1.PNG"):
        picture(tmp_path / name)
    samples = read(tmp_path)
    assert [sample.id for sample in samples] == ["cat/1.png", "cat/2.jpg", "dog/1.PNG"]
    assert [sample.fields for sample in samples] == [{"label": "cat"}, {"label": "cat"}, {"label": "dog"}]
    assert samples[0].meanings == ("label:cat",)
    assert samples[0].modality == {"image": "image"}
    assert samples[2].columns["image"].decode().shape == (3, 4, 3)


def test_split_folders_are_splits_not_labels(tmp_path, picture):
    for name in ("train/cat/1.png", "train/dog/1.png", "test/cat/2.png"):
        picture(tmp_path / name)
    assert [sample.fields for sample in read_folder(tmp_path)] == [
        {"split": "test", "label": "cat"},
        {"split": "train", "label": "cat"},
        {"split": "train", "label": "dog"},
    ]


def test_a_class_called_like_a_split_stays_a_class(tmp_path, picture):
    for name in ("train/1.png", "plane/1.png"):
        picture(tmp_path / name)
    assert [sample.fields for sample in read_folder(tmp_path)] == [{"label": "plane"}, {"label": "train"}]


def test_uneven_folders_are_no_labels_unless_asked(tmp_path, picture):
    for name in ("1.png", "holiday/beach/2.png"):
        picture(tmp_path / name)
    assert [sample.fields for sample in read_folder(tmp_path)] == [{}, {}]
    assert [s.fields for s in read_folder(tmp_path, labels=True)] == [{}, {"label": "beach"}]


def test_side_car_captions_and_files_of_one_stem(tmp_path, picture, sound):
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("A  Red fish\n")
    picture(tmp_path / "b.jpg")
    sound(tmp_path / "b.wav")
    picture(tmp_path / "c.jpg")
    picture(tmp_path / "c.png")
    (tmp_path / "c.txt").write_text("twice")
    (tmp_path / "notes.txt").write_text("about this folder")
    (tmp_path / "d.xyz").write_text("?")
    samples = {sample.id: sample for sample in read_folder(tmp_path)}
    assert {id: set(sample.columns) for id, sample in samples.items()} == {
        "a.png": {"image", "text"},
        "b.jpg": {"image", "audio"},
        "c.jpg": {"image", "text"},
        "c.png": {"image", "text"},
    }
    assert samples["a.png"].columns["text"] == "A  Red fish"
    assert samples["a.png"].meanings == ("text:a red fish",)
    assert samples["b.jpg"].modality == {"image": "image", "audio": "audio", "text": "text"}
    assert samples["b.jpg"].meanings == ()
    assert read_folder(tmp_path).skipped == (
        ("d.xyz", "no media by its ending '.xyz'"),
        ("notes.txt", "text without media of its name"),
    )


def test_text_that_cannot_be_read_meets_its_error_later(tmp_path, picture):
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    [sample] = read_folder(tmp_path)
    assert isinstance(sample.columns["text"], Source)
    with pytest.raises(MediaError):
        sample.columns["text"].decode()


def test_a_folder_of_texts(tmp_path):
    for name in ("b.txt", "a.txt"):
        (tmp_path / name).write_text(f"this is {name}")
    samples = read_folder(tmp_path)
    assert [(s.id, s.columns["text"]) for s in samples] == [
        ("a.txt", "this is a.txt"),
        ("b.txt", "this is b.txt"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "title": "One"}\n{"file_name": "sub/b.png", "title": "Two"}\n',
        ),
        ("metadata.csv", "file_name,title\na.png,One\nsub/b.png,Two\n"),
        ("captions.txt", "a.png\tOne\nsub/b.png\tTwo\n"),
        ("captions.txt", "image,caption\na.png,One\nsub/b.png,Two\n"),
        ("captions.csv", "a.png,One\nb.png,Two\n"),  # b.png lies in a folder beside the list
    ],
)
def test_lists_of_captions(tmp_path, picture, name, content):
    picture(tmp_path / "a.png")
    picture(tmp_path / "sub" / "b.png")
    picture(tmp_path / "sub" / "c.png")
    (tmp_path / name).write_text(content)
    samples = read_folder(tmp_path)
    assert [sample.id for sample in samples] == ["a.png", "sub/b.png", "sub/c.png"]
    column = "title" if "metadata" in name else "text"
    assert [sample.columns.get(column) for sample in samples] == ["One", "Two", None]
    assert [sample.meanings for sample in samples] == [(f"{column}:one",), (f"{column}:two",), ()]
    assert all(sample.fields == {} for sample in samples)


def test_several_captions_of_one_picture(tmp_path, picture):
    picture(tmp_path / "a.png")
    (tmp_path / "captions.txt").write_text('a.png#0\tA dog, running\na.png#1\t"A brown dog"\n')
    [sample] = read_folder(tmp_path)
    assert sample.columns["text"] == "A dog, running"
    assert sample.fields == {"text": ["A dog, running", "A brown dog"]}
    assert sample.meanings == ("text:a dog, running", "text:a brown dog")


def test_a_list_in_a_sub_folder_is_relative_to_it(tmp_path, picture, sound):
    picture(tmp_path / "x" / "a.png")
    picture(tmp_path / "y" / "a.png")
    sound(tmp_path / "x" / "sounds" / "1.wav")
    (tmp_path / "x" / "metadata.jsonl").write_text(
        '{"file_name": "a.png", "audio": "sounds/1.wav", "text": "it"}'
    )
    samples = {sample.id: sample for sample in read_folder(tmp_path)}
    assert samples["x/a.png"].columns["audio"].path == tmp_path / "x" / "sounds" / "1.wav"
    assert set(samples["y/a.png"].columns) == {"image"}


def test_lists_name_missing_and_outside_files(tmp_path, picture):
    picture(tmp_path / "data" / "a.png")
    outside = picture(tmp_path / "secret.png")
    metadata = tmp_path / "data" / "metadata.jsonl"
    metadata.write_text('{"file_name": "gone.png", "text": "gone"}')
    samples = {sample.id: sample for sample in read_folder(tmp_path / "data")}
    assert samples["gone.png"].columns["text"] == "gone"
    with pytest.raises(MediaError, match=r"gone\.png"):  # it will be quarantined
        samples["gone.png"].columns["image"].decode()
    for name in ("../secret.png", str(outside)):
        metadata.write_text(f'{{"file_name": "{name}", "text": "x"}}')
        with pytest.raises(ReaderError, match=r"leads out of .*pass allow_outside=True"):
            read_folder(tmp_path / "data")
        found = read_folder(tmp_path / "data", allow_outside=True)
        assert [s.columns["image"].decode().shape for s in found if "text" in s.columns] == [(3, 4, 3)]


def test_columns_choose_and_declare(tmp_path, picture):
    picture(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("file_name,name,colour\na.png,Fish,red\n")
    [sample] = read_folder(tmp_path, {"image": "image", "name": "text"})
    assert sample.columns["name"] == "Fish"
    assert sample.fields == {"colour": "red"}
    with pytest.raises(
        ReaderError, match=r"has no column \['picture'\]; it has \['image', 'name', 'colour'\]"
    ):
        read_folder(tmp_path, {"picture": "image"})
    with pytest.raises(ReaderError, match="expected one of text, image, audio, video, state"):
        read_folder(tmp_path, {"image": "picture"})
    [sample] = read_folder(tmp_path, meanings=["name", "colour"])
    assert sample.meanings == ("name:fish", "colour:red")


def test_folders_without_media(tmp_path, picture):
    (tmp_path / "a.xyz").touch()
    (tmp_path / ".hidden.png").touch()
    picture(tmp_path / ".git" / "a.png")
    with pytest.raises(ReaderError, match=r"no media found \(1 other files: 1 \.xyz\)"):
        read_folder(tmp_path)
    with pytest.raises(ReaderError, match="no such file or folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(ReaderError, match=r"expected a folder, a media file, or a file ending in \.jsonl"):
        read(tmp_path / "a.xyz")


def test_links_are_followed_and_circles_end(tmp_path, picture):
    picture(tmp_path / "store" / "a.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "again").symlink_to(tmp_path / "store")
    assert [sample.id for sample in read_folder(tmp_path / "data")] == ["train/a.png"]


def test_single_files(tmp_path, picture):
    path = str(picture(tmp_path / "a.png"))
    [sample] = read(path)
    assert (sample.id, sample.modality) == (path, {"image": "image"})
