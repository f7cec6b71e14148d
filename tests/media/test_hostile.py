"""Files that want something: to have other files read, memory filled, the wrong exception raised."""

import os
import random
import struct

import av
import numpy as np
import pytest

from sensorium.media import Audio, Limits, MediaError, Source, Video
from sensorium.media import audio as media_audio
from sensorium.media import container as media_container
from sensorium.media import image as media_image
from sensorium.media import video as media_video


def playlists(secret: str) -> dict[str, bytes]:
    return {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode(),
        "ffconcat": f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        "concat": f"file '{secret}'\n".encode(),
        "pls": f"[playlist]\nFile1={secret}\nNumberOfEntries=1\n".encode(),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "dash": f'<?xml version="1.0"?><MPD><BaseURL>{secret}</BaseURL></MPD>'.encode(),
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{secret}"/></svg>'.encode(),
    }


@pytest.mark.parametrize("modality", ["image", "audio", "video"])
def test_files_that_name_other_files_are_refused_whatever_their_suffix(
    modality, tmp_path, videos, monkeypatch
):
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(videos["mp4"])
    for name, content in playlists(str(secret)).items():
        for suffix in (name, "mp4", "mkv", "m4a", "png"):
            path = tmp_path / f"list.{suffix}"
            path.write_bytes(content)
            with pytest.raises(MediaError, match=r"playlist|XML|of unknown kind"):
                Source(modality, path=path).decode()
    if (
        modality != "image"
    ):  # were a playlist ever taken for a video, the demuxer is still not FFmpeg's to choose
        monkeypatch.setattr(media_container, "kind_of", lambda head: "MP4 video")
        monkeypatch.setattr(media_audio, "kind_of", lambda head: "MP4 video")
        for content in playlists(str(secret)).values():
            with pytest.raises(MediaError, match="cannot be decoded"):
                Source(modality, data=content).decode()


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def with_external_pictures(mp4: bytes, target: str) -> bytes:
    """The video, its own pictures blanked, with a Macintosh alias record saying that they lie in `target`."""
    volume = b"Disk"
    path = volume + target.encode().replace(b"/", b":")
    path += b"\0" * (len(path) % 2)
    alias = (
        bytes(10) + bytes([len(volume)]) + volume.ljust(27, b"\0") + bytes(12)
        + b"\x01" + b"x".ljust(63, b"\0") + bytes(16) + struct.pack(">HH", 1, 1) + bytes(16)
        + struct.pack(">HH", 2, len(path)) + path + struct.pack(">HH", 0xFFFF, 0)
    )  # fmt: skip
    entry = box(b"alis", bytes(4) + alias)
    out = bytearray(mp4)
    place = out.index(b"url \0\0\0\1") - 4
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = out.rindex(parent, 0, place + 4) - 4
        out[start : start + 4] = struct.pack(">I", struct.unpack_from(">I", out, start)[0] + len(entry) - 12)
    out[place : place + 12] = entry
    start, end = out.index(b"mdat") + 4, out.index(b"moov") - 4
    out[start:end] = bytes(end - start)
    return bytes(out)


def test_a_video_whose_pictures_lie_in_another_file_is_not_followed(tmp_path, make, monkeypatch):
    plain = make.video()
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(plain)
    attack = tmp_path / "attack.mp4"
    attack.write_bytes(with_external_pictures(plain, str(secret)))
    # the attack works on an FFmpeg that follows such references …
    with av.open(str(attack), options={"enable_drefs": "1", "use_absolute_path": "1"}) as opened:
        assert len(list(opened.decode(video=0))) == 100
    # … and not here; and had FFmpeg been told to follow them, its request for a second file is refused
    with pytest.raises(MediaError):
        media_video.decode(attack)
    monkeypatch.setattr(media_container, "_CONTAINED", {"enable_drefs": "1", "use_absolute_path": "1"})
    with pytest.raises(MediaError):
        media_video.decode(attack)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Cut short, or with some bytes flipped, replaced, removed or inserted, mostly in the header."""
    out = bytearray(data)
    if chance.random() < 0.2:
        return bytes(out[: chance.randrange(len(out))])
    reach = len(out) if chance.random() < 0.5 else min(len(out), 200)
    for _ in range(chance.choice((1, 1, 2, 4, 16, 64))):
        place, act = chance.randrange(max(1, min(reach, len(out)))), chance.random()
        if not out:
            break
        if act < 0.5:
            out[place] ^= 1 << chance.randrange(8)
        elif act < 0.8:
            out[place] = chance.choice((0, 1, 127, 128, 255))
        elif act < 0.9:
            del out[place : place + chance.randrange(1, 20)]
        else:
            out[place:place] = chance.randbytes(4)
    return bytes(out)


def check(media) -> None:
    if isinstance(media, Audio):
        assert media.samples.dtype == np.float32
        assert len(media.samples) > 0
        assert np.abs(media.samples).max() <= 1.0  # false for NaN too
    elif isinstance(media, Video):
        assert media.frames.dtype == np.uint8
        assert len(media.frames) == len(media.times) > 0
        assert (np.diff(media.times) > 0).all()
        assert media.frames.shape[3] == 3
    else:
        assert media.dtype == np.uint8
        assert media.size > 0
        assert media.shape[2] in (3, 4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("decode", "kind", "rounds"),
    [
        (media_image.decode, "pictures", 120),
        (media_image.decode_rgba, "pictures", 40),
        (media_audio.decode, "sounds", 50),
        (media_video.decode, "videos", 40),
    ],
)
def test_damaged_files_give_media_or_a_media_error_and_nothing_else(decode, kind, rounds, request):
    limits = Limits(pixels=1_000_000, seconds=60, frames=64)
    decoded, refused = 0, []
    for name, data in request.getfixturevalue(kind).items():
        chance = random.Random(name)
        for _ in range(rounds):
            try:
                check(decode(mutated(data, chance), limits=limits))
                decoded += 1
            except MediaError as error:
                refused.append(error)
    assert all(error.got and error.accepted for error in refused)
    # the damage is neither trivial nor total
    assert min(decoded, len(refused)) > 0.1 * (decoded + len(refused))


BEGINNINGS = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP",
    b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0AVI ", b"fLaC", b"OggS", b"ID3", b"\xff\xfb",
    b"\0\0\0\x18ftypisom", b"\x1a\x45\xdf\xa3", b"",
)  # fmt: skip


@pytest.mark.parametrize("modality", ["text", "image", "audio", "video"])
def test_noise_and_foreign_beginnings_are_refused(modality):
    chance = random.Random(7)
    for beginning in BEGINNINGS:
        for length in (1, 60, 3000):
            with pytest.raises(MediaError):
                Source(modality, data=beginning + b"\xfe" + chance.randbytes(length)).decode()


def test_errors_name_the_file_and_reach_other_processes(tmp_path):
    import pickle

    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(MediaError) as caught:
        Source("image", path=path).decode()
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.file, again.got, again.accepted) == (str(path), caught.value.got, caught.value.accepted)
    assert str(again) == str(caught.value)
    assert os.path.basename(again.file) in str(again)
