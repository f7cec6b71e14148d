import hashlib
import os
import pickle
import socket
import tracemalloc

import numpy as np
import pytest

from sensorium.media import Audio, Limits, MediaError, Source, Video, content_key, modality_of


def test_key_is_the_sha256_of_the_content_wherever_it_lies(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"content")
    expected = hashlib.sha256(b"content").hexdigest()
    assert Source("image", path=path).key() == expected
    assert Source("image", data=b"content").key() == expected
    assert content_key(Source("text", path=path)) == content_key("content") == expected


def test_sources_are_equal_when_modality_and_content_are(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"content")
    assert Source("audio", path=path) == Source("audio", data=b"content", name="other")
    assert Source("audio", path=path) != Source("video", path=path)
    assert (
        len({Source("audio", path=path), Source("audio", data=b"content"), Source("audio", data=b"!")}) == 2
    )


def test_a_source_is_read_twice_and_survives_pickling(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"content")
    source = Source("text", path=path)
    again = pickle.loads(pickle.dumps(source))
    assert source.read() == source.read() == again.read() == b"content"
    assert (again.name, again.path, again.decode()) == (str(path), path, "content")


def test_key_streams(tmp_path):
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(2**25)
    tracemalloc.start()
    key = Source("video", path=path).key()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert key == hashlib.sha256(bytes(2**25)).hexdigest()
    assert peak < 2**21


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "pipe.png")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "missing")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket.png"))
    refusals = {
        tmp_path / "pipe.png": "a pipe",
        tmp_path / "link.png": "a pipe",
        tmp_path / "folder.png": "a folder",
        tmp_path / "socket.png": "a socket",
        "/dev/zero": "a device",
        tmp_path / "missing.png": "No such file",
        tmp_path / "nowhere.png": "No such file",
        "nul\0.png": "null byte",
    }
    for path, got in refusals.items():
        for use in (Source.read, Source.key, Source.decode, hash):
            with pytest.raises(MediaError, match=got):
                use(Source("image", path=path))
    listener.close()


def test_links_are_followed_to_files_but_not_out_of_the_stated_folder(tmp_path):
    inside, outside = tmp_path / "set", tmp_path / "secret.txt"
    inside.mkdir()
    outside.write_text("secret")
    (inside / "own.txt").write_text("own")
    (inside / "near.txt").symlink_to("own.txt")
    (inside / "far.txt").symlink_to(outside)
    assert Source("text", path=inside / "far.txt").decode() == "secret"
    assert Source("text", path=inside / "near.txt", within=inside).decode() == "own"
    for path in (inside / "far.txt", inside / ".." / "secret.txt", outside):
        with pytest.raises(MediaError, match="leads out of its folder"):
            Source("text", path=path, within=inside).read()


def test_the_limit_on_bytes_is_checked_before_reading(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(100))
    assert len(Source("audio", path=path).read(Limits(bytes=100))) == 100
    for source in (Source("audio", path=path), Source("audio", data=bytes(100))):
        with pytest.raises(
            MediaError, match=r"100 bytes; accepted: at most 99 \(raise it with Limits\(bytes=100"
        ):
            source.read(Limits(bytes=99))
    with pytest.raises(MediaError, match=r"Limits\(text_bytes=100"):
        Source("text", path=path).read(Limits(text_bytes=99))
    huge = tmp_path / "huge.mp4"
    with huge.open("wb") as file:
        file.truncate(2**40)  # holds nothing on disk, claims a terabyte
    with pytest.raises(MediaError, match="1,099,511,627,776 bytes"):
        Source("video", path=huge).decode()


@pytest.mark.parametrize("modality", ["text", "image", "audio", "video"])
def test_an_empty_file_says_so(modality, tmp_path):
    path = tmp_path / "empty"
    path.touch()
    for source in (Source(modality, path=path), Source(modality, data=b"")):
        with pytest.raises(MediaError, match="an empty file"):
            source.decode()


def test_modality_of_goes_by_suffix_in_any_case():
    found = {
        name: modality_of(name)
        for name in (
            "a/B.JPG",
            "x.Tiff",
            "v.MOV",
            "n.txt",
            "s.OPUS",
            "._a.jpg",
            ".DS_Store",
            "a.heic",
            "png",
            "a.exe",
        )
    }
    assert found == {
        "a/B.JPG": "image", "x.Tiff": "image", "v.MOV": "video", "n.txt": "text", "s.OPUS": "audio",
        "._a.jpg": None, ".DS_Store": None, "a.heic": None, "png": None, "a.exe": None,
    }  # fmt: skip


def test_wrong_construction_says_what_is_expected():
    with pytest.raises(ValueError, match="'sound'; expected one of image, audio, video, text"):
        Source("sound", data=b"x")
    with pytest.raises(ValueError, match="either path= or data="):
        Source("image")
    with pytest.raises(ValueError, match="either path= or data="):
        Source("image", path="x", data=b"x")
    with pytest.raises(ValueError, match="got str; expected bytes"):
        Source("text", data="x")
    with pytest.raises(ValueError, match="limit pixels: got 0"):
        Limits(pixels=0)
    with pytest.raises(ValueError, match="limit seconds: got nan"):
        Limits(seconds=float("nan"))


def test_content_keys_of_decoded_media_differ_exactly_when_a_model_could_tell():
    samples = np.linspace(-1, 1, 8, dtype=np.float32)
    frames = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    times = np.array([0.0, 0.5])
    distinct = [
        "text", samples, samples.reshape(2, 4), samples.astype(np.float64), frames[0],
        Audio(samples, 8000), Audio(samples, 16000), Audio(samples[:-1], 8000),
        Video(frames, times), Video(frames, times * 2), Video(frames[::-1], times),
    ]  # fmt: skip
    assert len({content_key(media) for media in distinct}) == len(distinct)
    assert content_key(Audio(samples.copy(), 8000)) == content_key(Audio(samples, 8000))
    assert content_key(np.asfortranarray(frames[0])) == content_key(frames[0])
    with pytest.raises(TypeError, match="got NoneType"):
        content_key(None)
