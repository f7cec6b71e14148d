import codecs

import pytest

from sensorium.media import MediaError, Source
from sensorium.media import text as media_text


def test_utf8_with_and_without_a_mark():
    words = "grinning face 😀 — 笑脸\r\nsecond line\n"
    assert media_text.decode(words.encode()) == words
    assert media_text.decode(codecs.BOM_UTF8 + words.encode()) == words


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (b"abc\xff", "byte 0xff at byte 3"),
        (codecs.BOM_UTF8 + b"ab\xe9", "byte 0xe9 at byte 5"),
        ("é".encode()[:1], "byte 0xc3 at byte 0"),
        (b"\xed\xa0\x80", "byte 0xed at byte 0"),  # a surrogate, which UTF-8 forbids
        (b"ab\0c", "a NUL byte at byte 2"),
        ("ab".encode("utf-16"), "UTF-16 text"),
        ("ab".encode("utf-32"), "UTF-32 text"),
        (b" \r\n\t", "no text"),
        (codecs.BOM_UTF8, "no text"),
    ],
)
def test_what_is_not_utf8_is_refused_with_its_place(data, got):
    with pytest.raises(MediaError, match=got) as caught:
        media_text.decode(Source("text", data=data, name="caption.txt"))
    assert caught.value.file == "caption.txt"
    assert caught.value.accepted.startswith("UTF-8 text")
