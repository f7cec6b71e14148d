"""Media that want something, through the routes: damaged, lying, swollen; and paths where media are expected.

Each is refused with a 4xx or answered rightly, within bounded time and memory.
"""

import base64
import io
import os
import random
import struct
import time
import zlib
from functools import cache

import av
import numpy as np
import psutil
import pytest
import soundfile
from fastapi.testclient import TestClient
from PIL import Image
from tiny_served import png, wav

from sensorium.media import Limits
from sensorium.serving.api import create_app
from sensorium.serving.settings import Settings

SMALL = Settings(
    page=False, max_tokens=2, media=Limits(bytes=2**22, pixels=4_000_000, seconds=60.0, frames=16)
)


@pytest.fixture(scope="module")
def app(made, tmp_path_factory):
    return create_app(made.served(tmp_path_factory.mktemp("mutated") / "squares", SMALL), SMALL)


@pytest.fixture(scope="module")
def client(app):
    with TestClient(app) as client:
        yield client


# ---- what is sent --------------------------------------------------------------------------------------------------


def noise(format: str, **options) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(out, format, **options)
    return out.getvalue()


def tone(format: str, subtype: str, seconds: float = 0.5, rate: int = 16_000) -> bytes:
    out = io.BytesIO()
    samples = 0.5 * np.sin(np.arange(int(seconds * rate)) / 10)
    soundfile.write(out, samples, rate, format=format, subtype=subtype)
    return out.getvalue()


def clip(format: str, codec: str, seconds: float = 1.0, size: tuple[int, int] = (32, 24)) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=format) as container:
        stream = container.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for n in range(int(8 * seconds)):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), 9 * n % 256, np.uint8)))
            )
        container.mux(stream.encode(None))
    return out.getvalue()


WHOLE = {
    ("image", "png"): lambda: noise("PNG"),
    ("image", "jpeg"): lambda: noise("JPEG"),
    ("image", "jpeg progressive"): lambda: noise("JPEG", progressive=True),
    ("image", "webp"): lambda: noise("WEBP"),
    ("image", "gif"): lambda: noise("GIF"),
    ("image", "bmp"): lambda: noise("BMP"),
    ("image", "tiff"): lambda: noise("TIFF", compression="tiff_lzw"),
    ("audio", "wav"): lambda: tone("WAV", "PCM_16"),
    ("audio", "flac"): lambda: tone("FLAC", "PCM_16"),
    ("audio", "ogg"): lambda: tone("OGG", "VORBIS"),
    ("audio", "mp3"): lambda: tone("MP3", "MPEG_LAYER_III"),
    ("video", "mp4"): lambda: clip("mp4", "libx264"),
    ("video", "webm"): lambda: clip("webm", "libvpx"),
    ("video", "avi"): lambda: clip("avi", "mpeg4"),
}


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Cut short, or bits flipped, or a piece removed or put in, mostly in the header."""
    out = bytearray(data)
    if chance.random() < 0.25:
        return bytes(out[: chance.randrange(1, len(out))])
    for _ in range(chance.choice((1, 2, 4, 16))):
        place = chance.randrange(len(out) if chance.random() < 0.4 else min(len(out), 120))
        act = chance.random()
        if act < 0.6:
            out[place] ^= 1 << chance.randrange(8)
        elif act < 0.8:
            out[place : place + 4] = chance.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)))
        else:
            out[place : place + chance.randrange(20)] = chance.randbytes(chance.randrange(20))
    return bytes(out)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


@cache
def zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(2**20)) for _ in range(megabytes)), packer.flush()])


def jpeg_in_scans() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (1900, 1900)).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    return data[:-2] + 5000 * data[data.rindex(b"\xff\xda") : -2] + data[-2:]


def tiff_of(width: int, height: int, megabytes: int) -> bytes:
    strip = zeros(megabytes)
    tags = [(256, width), (257, height), (258, 8), (259, 8), (262, 1), (273, 0), (277, 1), (278, height)]
    tags.append((279, len(strip)))
    start = 8 + 2 + 12 * len(tags) + 4
    tags[5] = (273, start)
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + body + bytes(4) + strip


def riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def lasting(data: bytes) -> bytes:
    """An MP4 whose first frame stays for two thousand million ticks."""
    place = data.index(b"stts") + 16
    return data[:place] + struct.pack(">I", 2**31 - 1) + data[place + 4 :]


WANTING = {
    "a PNG of four thousand million pixels": (
        "image",
        lambda: png_of(2**16, 2**16, chunk(b"IDAT", zeros(1))),
    ),
    "a PNG of 2**62 pixels": ("image", lambda: png_of(2**31 - 1, 2**31 - 1, chunk(b"IDAT", b""))),
    "a text of 100 MB in a PNG": ("image", lambda: png_of(8, 8, chunk(b"zTXt", b"a\0\0" + zeros(100)))),
    "a colour profile of 100 MB in a PNG": (
        "image",
        lambda: png_of(8, 8, chunk(b"iCCP", b"a\0\0" + zeros(100))),
    ),
    "a PNG of 300,000 chunks": ("image", lambda: png_of(8, 8, 300_000 * chunk(b"fiLl", b""))),
    "a JPEG in 5,000 scans": ("image", jpeg_in_scans),
    "a GIF of 65,535 × 65,535": (
        "image",
        lambda: b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b";",
    ),
    "a GIF whose frame is larger than it": (
        "image",
        lambda: (
            b"GIF89a\x08\0\x08\0\0\0\0,"
            + struct.pack("<HHHHB", 0, 0, 12000, 12000, 0)
            + b"\x02\x02\x4c\x01\0;"
        ),
    ),
    "a TIFF of 2**60 pixels": ("image", lambda: tiff_of(2**30, 2**30, 1)),
    "a TIFF directory without end": ("image", lambda: b"II*\0\x08\0\0\0\0\0\x08\0\0\0"),
    "a WebP canvas of 2**48": (
        "image",
        lambda: riff(b"VP8X\x0a\0\0\0\0\0\0\0" + 6 * b"\xff" + b"VP8L\x0a\0\0\0\x2f" + bytes(9)),
    ),
    "a BMP of 2**62 pixels": (
        "image",
        lambda: (
            b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, *6 * [0])
        ),
    ),
    "a JPEG of 65,500 × 65,500": (
        "image",
        lambda: (
            (data := noise("JPEG"))[: (n := data.index(b"\xff\xc0") + 5)]
            + b"\xff\xdc\xff\xdc"
            + data[n + 4 :]
        ),
    ),
    "an SVG that names a file": (
        "image",
        lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
    ),
    "XML that expands": (
        "image",
        lambda: b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbb">]><svg>&b;</svg>',
    ),
    "a web page": ("image", lambda: b"<!doctype html><script>alert(1)</script>"),
    "a GIF that is a script": ("image", lambda: b"GIF89a/*" + 100 * b" " + b"*/=1;alert(1)//"),
    "a picture that is a ZIP archive": ("image", lambda: noise("PNG")[:60] + b"PK\3\4" + bytes(100)),
    "an archive": ("image", lambda: b"PK\3\4" + zeros(10)),
    "a playlist": ("audio", lambda: b"#EXTM3U\n#EXTINF:4,\nfile:///etc/passwd\n"),
    "a list of parts": ("video", lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n"),
    "two hours of FLAC": ("audio", lambda: tone_of_silence("FLAC", "PCM_16", 7200)),
    "ten minutes of MP3": ("audio", lambda: tone_of_silence("MP3", "MPEG_LAYER_III", 600)),
    "ten minutes of Vorbis": ("audio", lambda: tone_of_silence("OGG", "VORBIS", 600)),
    "a WAV of two thousand million a second": (
        "audio",
        lambda: (data := wav())[:24] + struct.pack("<I", 2**31 - 1) + data[28:],
    ),
    "a WAV of 65,535 channels": ("audio", lambda: (data := wav())[:22] + b"\xff\xff" + data[24:]),
    "a WAV that states 4 GB": ("audio", lambda: (data := wav())[:40] + b"\xf0\xff\xff\x7e" + data[44:]),
    "marks of MP3 and nothing else": ("audio", lambda: 2**19 * b"\xff\xfb\x90\0"),
    "a video that lasts for years": ("video", lambda: lasting(clip("mp4", "libx264"))),
    "a video of boxes": ("video", lambda: b"\0\0\0\x18ftypisom" + bytes(12) + 400_000 * b"\0\0\0\x08free"),
    "a video within a video": (
        "video",
        lambda: b"\0\0\0\x18ftypisom" + bytes(12) + 400_000 * b"\0\0\0\0moov",
    ),
    "a Matroska of sizes without end": (
        "video",
        lambda: b"\x1a\x45\xdf\xa3\x01" + 7 * b"\xff" + 100_000 * (b"\x18\x53\x80\x67\x01" + 7 * b"\xff"),
    ),
}


def tone_of_silence(format: str, subtype: str, seconds: int) -> bytes:
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", 8000, 1, format=format, subtype=subtype) as sound:
        for _ in range(seconds // 60):
            sound.write(np.zeros(8000 * 60, np.int16))
    return out.getvalue()


# ---- where it is sent ----------------------------------------------------------------------------------------------


def uri(data: bytes, modality: str) -> str:
    return f"data:{modality}/x;base64,{base64.b64encode(data).decode()}"


def ways(modality: str, data: bytes):
    """(route, arguments of `client.post`) for each way that media of a modality can be sent."""
    address = uri(data, modality)
    part = {"type": f"{modality}_url", f"{modality}_url": {"url": address}}
    yield "/v1/embeddings", {"json": {"model": "colours", "input": [{modality: address}]}}
    yield "/v1/search", {"json": {modality: address, "top_k": 1}}
    yield (
        "/v1/classify",
        {"json": {"model": "colours", "input": [{modality: address}], "labels": ["red", "blue"]}},
    )
    yield (
        "/v1/chat/completions",
        {"json": {"messages": [{"role": "user", "content": [part, {"type": "text", "text": "What?"}]}]}},
    )
    if modality == "audio":
        yield "/v1/audio/transcriptions", {"files": {"file": ("a.wav", data, "audio/wav")}}


def asked(client, route, given):
    """The status, after the checks that every answer must pass."""
    answer = client.post(route, **given)
    assert answer.status_code < 500, (route, answer.text[:500])
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert "Traceback" not in answer.text
    return answer.status_code


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("modality", "format"), WHOLE)
def test_damaged_media_are_refused_or_answered(client, modality, format):
    whole, chance = WHOLE[modality, format](), random.Random(format)
    statuses = [asked(client, *next(ways(modality, whole)))]
    assert statuses == [200]
    for turn in range(24):
        sent = list(ways(modality, damaged(whole, chance)))
        statuses.append(asked(client, *sent[turn % len(sent)]))
    assert set(statuses) > {200}
    assert set(statuses) <= {200, 400, 404, 413, 415, 422}


@pytest.mark.filterwarnings("ignore")
def test_media_that_want_too_much_are_refused_everywhere_at_little_cost(client):
    """Each of these would take gigabytes or minutes where it is let."""
    process, cost = psutil.Process(), {}
    for what, (modality, make) in WANTING.items():
        data = make()
        assert len(data) < SMALL.media.bytes, what
        before, began = process.memory_info().rss, time.process_time()
        for route, given in ways(modality, data):
            assert asked(client, route, given) in (400, 404, 413, 415), (what, route)
        cost[what] = (time.process_time() - began, process.memory_info().rss - before)
    assert max(memory for _, memory in cost.values()) < 150e6, cost
    # Of the processor, not of the clock; where nothing bounds it, each of these takes a minute or never ends.
    assert max(seconds for seconds, _ in cost.values()) < 10, cost


@pytest.mark.filterwarnings("ignore")
def test_additions_to_an_index_set_bad_media_aside(client, app):
    rows = [
        {"id": what, modality: uri(make(), modality)} for what, (modality, make) in list(WANTING.items())[:8]
    ]
    rows = [row for row in rows if "image" in row] + [{"id": "good", "image": uri(png("red", 77), "image")}]
    job = client.post("/v1/index/squares/rows", json={"rows": rows})
    assert job.status_code == 202
    client.portal.call(app.state.service.jobs.finish)
    told = client.get(f"/v1/index/squares/jobs/{job.json()['id']}").json()
    assert (told["state"], told["added"], told["bad"]) == ("done", 1, len(rows) - 1)
    answer = client.post("/v1/index/squares/rows", json={"rows": [{"image": uri(b"<html>", "image")}]})
    assert answer.status_code == 415
    files = [
        ("files", ("../../x.png", png("blue", 78), "image/png")),
        ("files", ("y.svg", b"<svg/>", "image/svg+xml")),
    ]
    assert client.post("/v1/index/squares/files", files=files).status_code == 415


# ---- paths ---------------------------------------------------------------------------------------------------------

PATHS = ["/etc/passwd", "../../../../etc/passwd", "file:///etc/passwd", "/proc/self/environ", "~/.ssh/id_rsa"]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_of_a_callers_is_opened(client, monkeypatch, path):
    seen, opens = [], os.open

    def watched(name, *given, **options):
        seen.append(os.fsdecode(name))
        return opens(name, *given, **options)

    monkeypatch.setattr(os, "open", watched)
    parts = [
        {"type": "image", "image": path},
        {"type": "audio", "audio": path},
        {"type": "image_url", "image_url": {"url": path}},
        {"type": "input_audio", "input_audio": {"data": path, "format": "wav"}},
        {"type": "file", "file": {"file_id": path}},
        {"type": "text", "image": path, "text": "x", "path": path},
    ]
    for part in parts:
        status = asked(
            client, "/v1/chat/completions", {"json": {"messages": [{"role": "user", "content": [part]}]}}
        )
        assert status in ((200,) if part["type"] == "text" else (400, 415)), part
        assert asked(client, "/v1/embeddings", {"json": {"input": [part]}}) in (200, 400, 415)
    for modality in ("image", "audio", "video"):
        assert asked(client, "/v1/embeddings", {"json": {"input": [{modality: path}]}}) == 400
        assert asked(client, "/v1/search", {"json": {modality: path}}) == 400
        given = {"input": [{modality: path}], "labels": ["a", "b"]}
        assert asked(client, "/v1/classify", {"json": given}) == 400
        assert asked(client, "/v1/index/squares/rows", {"json": {"rows": [{modality: path}]}}) == 400
    assert asked(client, "/v1/classify", {"json": {"model": "moods", "input": [{"photo": path}]}}) == 400
    for field in ("path", "file", "key", "thumbnail", "vector"):
        row = {"text": "words", "fields": {field: path}}
        assert asked(client, "/v1/index/squares/rows", {"json": {"rows": [row]}}) == 400 or field == "file"
        assert (
            asked(client, "/v1/index/squares/rows", {"json": {"rows": [{"text": "words", field: path}]}})
            == 400
        )
    assert asked(client, "/v1/search", {"json": {"text": "red", "index": path}}) == 404
    assert asked(client, "/v1/search", {"json": {"id": path}}) in (400, 404)
    assert asked(client, "/v1/embeddings", {"json": {"model": path, "input": "red"}}) == 404
    assert asked(client, "/v1/audio/transcriptions", {"files": {"file": (path, wav(), "audio/wav")}}) in (
        200,
        404,
    )
    client.portal.call(client.app.state.service.jobs.finish)
    assert not [name for name in seen if "passwd" in name or "environ" in name or "id_rsa" in name]


@pytest.mark.parametrize(
    "name", ["..", "../..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "squares%00", "."]
)
def test_segments_of_an_address_name_no_folders(client, name):
    for method, path in (
        ("GET", f"/v1/index/{name}"),
        ("GET", f"/v1/index/{name}/thumbnail?id=red-0"),
        ("GET", f"/v1/index/{name}/jobs/x"),
        ("GET", f"/v1/index/squares/jobs/{name}"),
        ("DELETE", f"/v1/index/{name}/rows?id=red-0"),
        ("GET", f"/v1/models/{name}"),
        ("GET", f"/v1/index/squares/thumbnail?id={name}"),
        ("GET", f"/v1/index/squares/thumbnail?id=/etc/passwd{name}"),
    ):
        answer = client.request(method, path)
        assert answer.status_code in (200, 404, 405), (method, path)
        assert "root:" not in answer.text


def test_where_things_lie_is_not_told(client, app):
    """Paths of the server's own do not leave it, in answers or in errors."""
    folder = str(app.state.service.served.indexes["squares"].index.folder)
    for route, given in (
        ("/v1/search", {"json": {"text": "red"}}),
        ("/v1/search", {"json": {"text": "red", "where": "nowhere = 1"}}),
        ("/v1/search", {"json": {"id": "nobody"}}),
        ("/v1/search", {"json": {"text": "red", "index": "other"}}),
        ("/v1/embeddings", {"json": {"model": "other", "input": "x"}}),
    ):
        answer = client.post(route, **given)
        assert folder not in answer.text
        assert "/src/" not in answer.text
    for path in ("/v1/models", "/v1/index", "/v1/index/squares", "/metrics", "/openapi.json", "/readyz"):
        assert folder not in client.get(path).text
