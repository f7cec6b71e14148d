"""Attention maps: their numbers, where their colours fall, and the figures that carry them."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from sensorium.media import Audio
from sensorium.viewing import attention_figure, report
from sensorium.viewing.attention_maps import (
    RAMP,
    PictureAttention,
    SoundAttention,
    Word,
    attention_html,
    by_word,
    coloured,
    framed,
    heated,
    scale_of,
    share_of,
    spectrogram,
    times_even,
    words_of,
)

WHITE = np.full((60, 30, 3), 255, np.uint8)  # higher than wide
CORNER = np.array([[1.0, 0.0], [0.0, 0.0]])
TONE = Audio((0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)).astype(np.float32), 16000)


def images_of(html: str) -> list[np.ndarray]:
    found = re.findall(r'href="data:image/webp;base64,([^"]+)"', html)
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB")).astype(int) for one in found
    ]


def near(pixel, colour, most=12):
    return np.abs(np.asarray(pixel, float) - np.asarray(colour, float)).max() <= most


def pieces() -> PreTrainedTokenizerFast:
    """WordPiece of a few pieces, as BERT's."""
    vocabulary = {
        p: n for n, p in enumerate(["[UNK]", "[CLS]", "[SEP]", "the", "red", "pan", "##da", "##s", "?"])
    }
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def test_pieces_are_put_together_to_words():
    words = words_of(pieces(), "the red pandas ? the")
    assert [(word.text, word.places) for word in words] == [
        ("[CLS]", (0,)),
        ("the", (1,)),
        ("red", (2,)),
        ("pandas", (3, 4, 5)),
        ("?", (6,)),
        ("the", (7,)),
        ("[SEP]", (8,)),
    ]
    short = words_of(pieces(), "the red pandas", limit=5)
    assert [word.text for word in short] == ["[CLS]", "the", "red", "pan", "[SEP]"]


def test_a_word_s_map_is_the_mean_of_its_pieces():
    attention = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.2, 0.8], [0.0, 0.0]])  # the last is padding
    words = [Word("the", (0,)), Word("panda", (1, 2)), Word("the", (3,))]
    found = by_word(attention, words)
    assert {name: map_.tolist() for name, map_ in found.items()} == {
        "the": [1.0, 0.0],
        "panda": [0.25, 0.75],
        "the (2)": [0.2, 0.8],
    }
    with pytest.raises(ValueError, match="attention of 3 tokens, words of 4"):
        by_word(attention[:3], words)


def test_times_the_even_share():
    assert times_even(CORNER).ravel() == pytest.approx([4.0, 0.0, 0.0, 0.0])
    assert times_even(np.full(7, 0.05)) == pytest.approx(np.ones(7))  # however little of it came here
    assert not times_even(np.zeros(3)).any()
    assert scale_of([np.full(7, 0.05)]) == 4.0  # even attention is not stretched
    assert scale_of([np.eye(1, 9), CORNER]) == pytest.approx(9)
    assert [share_of(np.full(4, share / 4)) for share in (1.0, 0.62, 0.001, 0.0)] == [
        "",
        "62 %",
        "< 1 %",
        "0 %",
    ]


def test_colours_fall_where_the_weights_are():
    shown = PictureAttention("one", WHITE, {"corner": CORNER})
    pixels = heated(shown, CORNER, 4.0)
    assert pixels.shape == (224, 224, 3)
    assert near(pixels[5, 5], RAMP[-1], 1)
    assert near(pixels[5, 218], RAMP[0], 1)
    assert pixels[111, 111].tolist() == pixels[5, 5].tolist()  # patches keep their edges
    assert near(pixels[112, 112], pixels[5, 218], 1)
    luminance = coloured(np.linspace(0, 1, 50)) @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(luminance) < 0).all()  # more is darker, also in grey


def test_the_grid_covers_the_square_that_the_encoder_saw():
    black = np.zeros((60, 30, 3), np.uint8)
    square = framed(PictureAttention("one", black, {"a": CORNER}))
    assert square[:, 100].max() == 0
    assert square[:, :56].min() == 255
    assert square[:, 168:].min() == 255
    assert framed(PictureAttention("one", black, {"a": CORNER}, letterbox=False)).max() == 0
    flat = PictureAttention("one", black, {"a": CORNER.ravel(), "b": np.full((2, 3), 0.1)})
    assert flat.grids()["a"].tolist() == CORNER.tolist()
    assert flat.grids()["b"].shape == (2, 3)


def test_a_tone_is_dark_at_its_pitch():
    silence = Audio(np.concatenate([TONE.samples, np.zeros(16000, np.float32)]), 16000)
    bands, top = spectrogram(silence)
    assert top == 8000
    assert bands.shape == (96, 200, 3)
    column = bands[:, 50].sum(-1)
    mel = 2595 * np.log10(1 + 1000 / 700), 2595 * np.log10(1 + 8000 / 700)
    assert abs(int(column.argmin()) - 95 * (1 - mel[0] / mel[1])) <= 1.5
    assert bands[:, 150].min() > 240  # silence is paper


def test_long_sounds_are_drawn_in_a_limited_number_of_columns():
    minutes = Audio(np.tile(TONE.samples[:8000], 480), 16000)  # four
    late = np.zeros(12_000)
    late[-3000:] = 1 / 3000
    bands, strip, _ = images_of(
        attention_html(SoundAttention("long", minutes, {"a": late}, token_seconds=0.02))
    )
    assert bands.shape[1] == strip.shape[1] == 3000
    assert near(strip[10, 2200], RAMP[0])
    assert near(strip[10, 2300], RAMP[-1])


def test_a_picture_s_figure_shows_the_picture_and_a_map_a_word():
    shown = PictureAttention(
        "where <it> looked", WHITE, {"<b>red</b>": 0.5 * CORNER, "panda": CORNER[::-1]}, "a note"
    )
    html = attention_html(shown)
    plain, first, second, scale = images_of(html)
    assert plain.min() > 250
    assert near(first[40, 40], RAMP[-1])
    assert near(second[180, 40], RAMP[-1])
    assert near(scale[5, -3], RAMP[-1], 25)
    assert "&lt;b&gt;red&lt;/b&gt;" in html
    assert "<b>" not in html
    assert "50 %" in html
    assert ">4<" in html


def test_a_sound_s_strips_lie_where_its_tokens_are():
    weights = np.zeros(50)
    weights[25:] = 1 / 25  # all in the second half
    html = attention_html(SoundAttention("heard", TONE, {"pandas": weights}, token_seconds=0.02))
    _, strip, _ = images_of(html)
    assert near(strip[10, strip.shape[1] // 4], RAMP[0])
    assert near(strip[10, 3 * strip.shape[1] // 4], RAMP[2])  # twice the even share of at least four
    rectangles = re.findall(r'<image x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', html)
    assert rectangles[0] == rectangles[1] == ("150", "930")
    longer = attention_html(SoundAttention("heard", TONE, {"pandas": np.full(100, 0.01)}, token_seconds=0.02))
    rectangles = re.findall(r'<image x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', longer)
    assert rectangles[:2] == [("150", "465"), ("150", "930")]  # tokens past the sound's end
    assert SoundAttention("heard", TONE, {"a": np.full(7, 0.1)}).seconds == 1.0


def test_they_stand_in_the_report_and_in_a_figure(tmp_path):
    figures = [
        PictureAttention("seen", WHITE, {"red": CORNER}),
        SoundAttention("heard", TONE, {"red": np.full(10, 0.1), "fused": np.full(10, 0.05)}),
    ]
    page = report.write(tmp_path / "report.html", "a run", attention=figures).read_text()
    assert page.count('<figure class="panel wide">') == 2
    assert "<h2" in page
    assert "Attention" in page
    drawn = attention_figure.save(tmp_path / "docs" / "attention.png", figures, dpi=100)
    with Image.open(drawn) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    x = round(100 * (attention_figure.EDGE + attention_figure.TILE + attention_figure.GAP + 0.3))
    y = round(100 * (attention_figure.EDGE + attention_figure.HEADING + 0.3))
    assert near(pixels[y, x], RAMP[-1], 3)
    assert near(pixels[y + 80, x + 80], RAMP[0], 3)
    with pytest.raises(ValueError, match="expected at least one"):
        attention_figure.save(tmp_path / "x.png", [])


@pytest.mark.parametrize(
    ("maps", "said"),
    [
        ({}, "got no maps"),
        ({"a": np.array([[0.5, np.nan]])}, "expected weights from 0"),
        ({"a": np.array([[1.5, 0.5]])}, "sum to at most 1"),
        ({"a": np.array([[-0.5, 0.5]])}, "expected weights from 0"),
        ({"a": np.zeros(0)}, "has nothing"),
        ({"a": np.full(5, 0.1)}, r"is \[5\]; expected \[h, w\]"),
    ],
)
def test_what_is_no_map_is_refused(maps, said):
    with pytest.raises(ValueError, match=said):
        PictureAttention("one", WHITE, maps)


def test_what_is_no_sound_s_map_is_refused():
    with pytest.raises(ValueError, match=r"is \[2, 2\]; expected \[T\]"):
        SoundAttention("one", TONE, {"a": CORNER})
    with pytest.raises(ValueError, match="without samples"):
        SoundAttention("one", Audio(np.zeros(0, np.float32), 16000), {"a": np.array([1.0])})
