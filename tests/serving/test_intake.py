"""What callers send becomes a Source of bytes or is refused; no string of theirs becomes a path."""

import asyncio
import base64
import io
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pytest
import soundfile
from PIL import Image

from sensorium.media import Limits, MediaError, Source
from sensorium.media.image import _PLUGINS
from sensorium.serving import intake
from sensorium.serving.intake import (
    Refused,
    media_read,
    media_source,
    part_read,
    part_source,
    source_of_bytes,
)
from sensorium.serving.settings import Settings

SETTINGS = Settings()


def picture(format="PNG", size=(6, 4)) -> bytes:
    out = io.BytesIO()
    pixels = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(size[1], size[0], 3)
    Image.fromarray(pixels).save(out, format)
    return out.getvalue()


def sound() -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.linspace(-0.5, 0.5, 1600, dtype=np.float32), 16_000, format="WAV")
    return out.getvalue()


def uri(data: bytes, media_type="image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def image_url(url) -> dict:
    return {"type": "image_url", "image_url": {"url": url}}


def refusal(part, settings=SETTINGS) -> Refused:
    with pytest.raises(Refused) as caught:
        part_source(part, settings, "messages[0].content[1]")
    assert str(caught.value).startswith("messages[0].content[1]: ")
    assert len(str(caught.value)) < 500
    return caught.value


def test_the_kinds_taken_are_those_that_are_decoded():
    assert set(intake.KINDS["image"]) == set(_PLUGINS)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_data_uri_becomes_its_bytes_whatever_its_type_claims_of_the_format(format):
    data = picture(format)
    for media_type in (
        f"image/{format.lower()}",
        "image/png",
        "IMAGE/JPEG;name=x",
        "application/octet-stream",
        "",
    ):
        source = part_source(image_url(uri(data, media_type)), SETTINGS)
        assert (source.modality, source.data, source.path) == ("image", data, None)
        assert source.decode().shape == (4, 6, 3)


def test_other_ways_to_write_a_data_uri():
    data = picture()
    encoded = base64.b64encode(data).decode()
    wrapped = "\n".join(encoded[n : n + 76] for n in range(0, len(encoded), 76))
    for address in (
        "DATA:image/png;BASE64," + encoded,
        "data:image/png;base64," + encoded.rstrip("="),
        "data:image/png;base64," + wrapped,
        "data:image/png;base64," + quote(encoded, safe=""),
        "data:image/png," + quote(data),
        "data:," + quote(data),
    ):
        assert part_source(image_url(address), SETTINGS).data == data
    assert (
        part_source({"type": "image_url", "image_url": uri(data)}, SETTINGS).data == data
    )  # without the object


def test_inline_parts_and_their_formats():
    data = sound()
    given = {"data": base64.b64encode(data).decode(), "format": "wav"}
    source = part_source({"type": "input_audio", "input_audio": given}, SETTINGS)
    assert (source.modality, source.data) == ("audio", data)
    assert len(source.decode().samples) == 1600
    whole = {"type": "input_audio", "input_audio": {"data": uri(data, "audio/wav")}}
    assert part_source(whole, SETTINGS).data == data
    assert refusal({"type": "input_audio", "input_audio": given | {"format": "exe"}}).status == 415
    assert refusal({"type": "input_audio", "input_audio": given | {"format": 7}}).status == 415
    assert refusal({"type": "input_video", "input_video": given}).status == 415


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"GIF89", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>", 415),
        (b"<!doctype html><script>alert(1)</script>", 415),
        (b"#EXTM3U\nfile:///etc/passwd", 415),
        (b"%PDF-1.7", 415),
        (b"PK\3\4", 415),
        (b"GIF89a<script>", None),  # a polyglot begins as a picture; decoding finds that it is none
        (sound(), 415),
    ],
)
def test_the_bytes_say_what_they_are(data, status):
    part = image_url(uri(data))
    if status is None:
        with pytest.raises(MediaError):
            part_source(part, SETTINGS).decode()
    else:
        assert refusal(part).status == status


@pytest.mark.parametrize(
    "media_type", ["text/html", "audio/wav", "video/mp4", "image", "imagery/png", "text/plain;a"]
)
def test_a_media_type_of_another_modality_is_refused(media_type):
    fits = media_type in ("image", "text/plain;a")  # says as much as is needed; says nothing
    if fits:
        assert part_source(image_url(uri(picture(), media_type)), SETTINGS).modality == "image"
    else:
        assert refusal(image_url(uri(picture(), media_type))).status == 415


PATHS = [
    "/etc/passwd",
    "../../etc/passwd",
    "etc/passwd",
    "C:\\windows\\win.ini",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "FILE://localhost/etc/passwd",
    "/proc/self/environ",
    "pipe:0",
    "concat:/etc/passwd|/etc/hosts",
    "~/.ssh/id_rsa",
    "s3://bucket/key",
    "hf:org/name",
    "data",
    "",
    " data:image/png;base64,AAAA",
    "\0",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_string_names_a_file(path, monkeypatch):
    monkeypatch.setattr("os.open", lambda *given: pytest.fail(f"opened {given}"))
    monkeypatch.setattr("builtins.open", lambda *given, **options: pytest.fail(f"opened {given}"))
    for kind in (*intake.ADDRESSED, *intake.INLINE):
        for given in (path, {"url": path}, {"path": path}, {"data": path, "url": path, "file": path}):
            assert refusal({"type": kind, kind: given}).status in (400, 415)
    for modality in ("image", "audio", "video", "state"):  # parts as conversations on disk have them
        assert "name files" in str(refusal({"type": modality, modality: path}))


def test_with_addresses_allowed_a_path_is_still_none():
    settings = replace(SETTINGS, allow_urls=True)
    for path in PATHS:
        with pytest.raises(Refused) as caught:
            asyncio.run(part_read(image_url(path), settings, "here"))
        assert caught.value.status == 400
    with pytest.raises(Refused, match=r"here: 'localhost': goes by no public address"):
        asyncio.run(part_read(image_url("http://localhost/a.png"), settings, "here"))


def test_addresses_are_refused_with_the_way_to_allow_them():
    for found in (
        refusal(image_url("https://example.org/a.png")),
        refusal(image_url("HTTP://example.org/a.png")),
    ):
        assert found.status == 400
        assert "--allow-urls" in str(found)
        assert "data:image/png;base64" in str(found)


@pytest.mark.parametrize(
    "part",
    [
        None, 7, [], "image_url", {}, {"type": None}, {"type": []}, {"type": "image_url"}, {"type": {}},
        {"type": "image_url", "image_url": None}, {"type": "image_url", "image_url": {"url": 7}},
        {"type": "image_url", "image_url": {"url": ["data:"]}}, {"type": "input_audio", "input_audio": "x"},
        {"type": "input_audio", "input_audio": {"format": "wav"}}, {"type": "input_audio", "input_audio": {"data": 1}},
        {"type": "text", "text": "hello"}, {"type": "x" * 10_000}, image_url("data:"), image_url("data:;base64"),
        image_url("data:image/png;base64,????"), image_url("data:image/png;base64,AAA=AAA="),
        image_url("data:image/png;base64,Ä"), image_url("data:image/png;base64,A"),
        image_url("data:image/png" + ";a" * 200 + ";base64,AAAA"), image_url("data:,\ud800"),
    ],
)  # fmt: skip
def test_parts_that_are_none(part):
    assert refusal(part).status in (400, 415)


def test_size_is_checked_before_anything_is_decoded(monkeypatch):
    small = replace(SETTINGS, media=Limits(bytes=30_000))
    fits, large = bytes(30_000), bytes(30_004)
    monkeypatch.setattr("binascii.a2b_base64", lambda *given, **options: pytest.fail("decoded"))
    encoded = base64.b64encode(large).decode()
    spaced = "data:image/png;base64," + " ".join(encoded)
    for address in (uri(large), spaced, "data:image/png," + 30_001 * "a", "data:image/png," + 30_001 * "%00"):
        assert refusal(image_url(address), small).status == 413
    part = {"type": "input_audio", "input_audio": {"data": encoded, "format": "wav"}}
    assert refusal(part, small).status == 413
    monkeypatch.undo()
    assert refusal(image_url(uri(fits)), small).status == 415  # small enough, and zeros only
    with pytest.raises(Refused) as caught:
        source_of_bytes("image", large, small)
    assert caught.value.status == 413


def test_a_source_carries_the_limits_of_the_server():
    few = replace(SETTINGS, media=Limits(pixels=20))
    with pytest.raises(MediaError, match=r"6 × 4 = 24 pixels"):
        part_source(image_url(uri(picture())), few).decode()
    assert part_source(image_url(uri(picture(size=(5, 4)))), few).decode().shape == (4, 5, 3)


def test_the_asynchronous_ways_say_the_same():
    data = picture()
    assert asyncio.run(part_read(image_url(uri(data)), SETTINGS)).data == data
    assert asyncio.run(media_read("image", uri(data), SETTINGS)).data == data
    assert media_source("image", uri(data), SETTINGS) == Source("image", data=data)
    part = {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(sound()).decode(), "format": "wav"},
    }
    assert asyncio.run(part_read(part, SETTINGS)).data == sound()


def test_uploads():
    data = picture("JPEG")
    assert source_of_bytes("image", data, SETTINGS, "file", "image/jpeg; charset=binary").data == data
    for status, modality, given, media_type in (
        (415, "image", data, "text/html"),
        (415, "audio", data, "audio/wav"),
        (400, "image", b"", "image/png"),
        (422, "smell", data, ""),
        (422, "text", data, ""),
    ):
        with pytest.raises(Refused) as caught:
            source_of_bytes(modality, given, SETTINGS, "file", media_type)
        assert caught.value.status == status
