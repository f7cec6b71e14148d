"""What lies in an engineer's folder, and what is said about it."""

import subprocess
import sys

import pytest

from sensorium.media import MediaError, Source, modality_of
from sensorium.media.signatures import HEAD, kind_of

FOREIGN = {
    "photo.heic": (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic", "HEIC picture"),
    "photo.avif": (b"\0\0\0\x20ftypavif\0\0\0\0avif", "AVIF picture"),
    "photo.jxl": (b"\xff\x0a" + bytes(20), "JPEG XL picture"),
    "logo.svg": (b'\xef\xbb\xbf <svg xmlns="http://www.w3.org/2000/svg"/>', "SVG or XML document"),
    "scan.pdf": (b"%PDF-1.7\n", "PDF document"),
    "art.psd": (b"8BPS\0\1", "Photoshop picture"),
    "set.zip": (b"PK\3\4\x14\0", "ZIP archive"),
    "set.tar.gz": (b"\x1f\x8b\x08\0", "gzip archive"),
    "a.npy": (b"\x93NUMPY\1\0", "NumPy array"),
    ".DS_Store": (b"\0\0\0\1Bud1\0", "folder settings"),
    "._photo.jpg": (b"\0\5\x16\7\0\2\0\0Mac OS X", "AppleDouble"),
    "download.jpg": (
        b"<!DOCTYPE html><html><body>404",
        "web page (perhaps the error page of a failed download)",
    ),
    "lfs.png": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "aborted.mp4": (bytes(500), "file of zero bytes only"),
    "call.amr": (b"#!AMR\n", "AMR sound"),
    "song.aac": (b"\xff\xf1\x50\x80" + bytes(20), "AAC stream"),
    "song.aiff": (b"FORM\0\0\0\0AIFF", "AIFF sound"),
    "old.wmv": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media file"),
    "old.flv": (b"FLV\1", "Flash video"),
    "who.bin": (b"\x01\x02\x03\x04 something", "file of unknown kind"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_named_with_what_is_accepted(name, tmp_path):
    content, kind = FOREIGN[name]
    path = tmp_path / name
    path.write_bytes(content)
    accepted = {"image": "PNG, JPEG, WebP", "audio": "WAV, FLAC, OGG", "video": "MP4, WebM, MKV or AVI"}
    for modality in accepted:
        with pytest.raises(MediaError) as caught:
            Source(modality, path=path).decode()
        assert caught.value.file == str(path)
        assert kind in caught.value.got
        assert caught.value.accepted.startswith(accepted[modality])


def test_every_made_file_is_known_by_its_signature(pictures, sounds, videos):
    kinds = {
        "png": "PNG picture", "jpeg": "JPEG picture", "webp": "WebP picture", "gif": "GIF picture",
        "bmp": "BMP picture", "tiff": "TIFF picture", "wav": "WAV sound", "flac": "FLAC sound",
        "ogg": "OGG sound", "opus": "OGG sound", "mp3": "MP3 sound", "m4a": "M4A sound", "mp4": "MP4 video",
        "mov": "MP4 video", "webm": "WebM or Matroska video", "mkv": "WebM or Matroska video",
        "avi": "AVI video",
    }  # fmt: skip
    for files in (pictures, sounds, videos):
        for name, data in files.items():
            assert kind_of(data[:HEAD]) == kinds[name.split()[0]], name


def test_the_content_decides_not_the_suffix(tmp_path, sounds, videos, pictures):
    for modality, content, wrong in (
        ("image", pictures["webp"], "photo.jpg"),
        ("audio", sounds["mp3"], "take.wav"),
        ("audio", sounds["m4a"], "voice.MP3"),
        ("audio", sounds["opus"], "voice.ogg"),
        ("video", videos["mkv"], "clip.mp4"),
    ):
        path = tmp_path / wrong
        path.write_bytes(content)
        right = Source(modality, data=content).decode()
        assert modality_of(path) == modality
        assert str(Source(modality, path=path).decode()) == str(right)


def test_listing_and_hashing_files_loads_no_codec():
    code = (
        "import sys; from sensorium.media import Source, modality_of; Source('image', data=b'x').key();"
        "print(sorted({'PIL', 'av', 'soundfile', 'soxr', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
