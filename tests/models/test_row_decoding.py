"""Rows that come and go in one batch: each gets what it gets alone, whoever is beside it."""

from dataclasses import replace

import pytest
import torch
from small_backbones import backbone_of, prompts

from sensorium.models.decoding import Decoding, DecodingError, decode
from sensorium.models.row_decoding import Row, RowDecoder

LENGTHS = (3, 17, 8, 30, 5, 21)
HOWS = (
    Decoding(max_tokens=12),
    Decoding(max_tokens=30, temperature=1.3, seed=5),
    Decoding(max_tokens=25, stop=("Q", "ab")),
    Decoding(max_tokens=4),
    Decoding(max_tokens=18, temperature=0.7, top_k=9, seed=1),
    Decoding(max_tokens=40),
)


@pytest.fixture(scope="module", params=["llama", "fast_llama", "gpt2", "t5"])
def engine(request):
    return backbone_of(request.param)


def prompts_of(engine, lengths=LENGTHS) -> list[torch.Tensor]:
    return [one[0] for one in prompts(engine, lengths)]


def written(decoder: RowDecoder, arrivals: dict[int, list[tuple[torch.Tensor, Decoding]]]) -> list[Row]:
    """All rows in the order in which they came; arrivals: by step."""
    rows, step = [], 0
    shown: dict[int, str] = {}
    while arrivals or decoder.rows:
        if decoder.open and arrivals and min(arrivals) <= step:
            come = arrivals.pop(min(arrivals))
            rows += decoder.join([prompt for prompt, _ in come], [how for _, how in come])
        for row, piece in decoder.step():
            shown[id(row)] = shown.get(id(row), "") + piece
        step += 1
    assert [shown[id(row)] for row in rows] == [row.text.text for row in rows]  # pieces make up the text
    return rows


def alone(engine, asked) -> list[tuple[list[int], str, str]]:
    found = [decode(engine, prompt[None], how=how) for prompt, how in zip(asked, HOWS)]
    return [(one.ids[0], one.texts[0], one.ended[0]) for one in found]


def test_rows_that_start_together_are_written_as_alone(engine):
    asked = prompts_of(engine)
    rows = written(RowDecoder(engine), {0: list(zip(asked, HOWS))})
    assert [(row.text.ids, row.text.text, row.ended) for row in rows] == alone(engine, asked)
    assert [row.prompt for row in rows] == list(LENGTHS)


def test_rows_that_come_later_are_written_as_alone(engine):
    asked = prompts_of(engine)
    pairs = list(zip(asked, HOWS))
    rows = written(RowDecoder(engine), {0: pairs[:2], 1: pairs[2:3], 3: pairs[3:5], 20: pairs[5:]})
    assert [(row.text.ids, row.text.text, row.ended) for row in rows] == alone(engine, asked)


def test_a_row_that_leaves_changes_nothing_for_the_others(engine):
    asked = prompts_of(engine)
    decoder = RowDecoder(engine)
    first, longest, other = decoder.join(asked[2:5], [replace(how, max_tokens=20) for how in HOWS[2:5]])
    for _ in range(3):
        decoder.step()
    decoder.leave([longest])
    while decoder.rows:
        assert longest not in [row for row, _ in decoder.step()]
    assert len(longest.text.ids) == 3
    ids = [decode(engine, asked[n][None], how=replace(HOWS[n], max_tokens=20)).ids[0] for n in (2, 4)]
    assert [first.text.ids, other.text.ids] == ids


def test_padding_that_nobody_needs_any_more_is_dropped():
    engine = backbone_of("fast_llama")
    decoder = RowDecoder(engine)
    decoder.join(prompts_of(engine, (41, 6)), [Decoding(max_tokens=2), Decoding(max_tokens=10)])
    decoder.step()
    assert decoder._reader.cache.length == 41
    decoder.step()
    assert len(decoder.rows) == 1
    assert decoder._reader.cache.length == 7  # its prompt and one token


def test_an_encoder_decoder_lets_nobody_in_until_all_have_ended():
    decoder = RowDecoder(backbone_of("t5"))
    decoder.join([torch.randn(4, 32)], [Decoding(max_tokens=3)])
    decoder.step()
    assert not decoder.open
    while decoder.rows:
        decoder.step()
    assert decoder.open


def test_a_prompt_without_room_for_an_answer_fails_alone():
    decoder = RowDecoder(backbone_of("llama"))
    fits, too_long = decoder.join([torch.randn(4, 32), torch.randn(128, 32)], [Decoding(max_tokens=2)] * 2)
    assert isinstance(too_long, DecodingError)
    assert "leaves no room" in str(too_long)
    assert decoder.rows == [fits]
    with pytest.raises(DecodingError, match="beams=4"):
        Row(decoder.backbone, torch.randn(4, 32), Decoding(beams=4))


def test_prompts_are_read_together_when_they_are_of_like_length_and_not_long(monkeypatch):
    decoder = RowDecoder(backbone_of("fast_llama"))
    monkeypatch.setattr("sensorium.models.row_decoding.AT_ONCE", 60)
    read = []
    monkeypatch.setattr(RowDecoder, "_read", lambda self, some: read.append([len(one) for one in some]))
    decoder.join(prompts_of(decoder.backbone, (31, 5, 19, 6, 20, 18, 40)), [Decoding()] * 7)
    assert read == [[5, 6], [18, 19, 20], [31], [40]]
