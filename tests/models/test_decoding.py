"""Decoding: equal to `transformers.generate`, batches to each alone, later turns to a fresh run."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from small_backbones import END, Letters, V, backbone_of, prompts

from sensorium.models.decoding import Decoding, DecodingError, decode, stream
from sensorium.models.text_pieces import TextPieces


class Bytes:
    """Token n is byte n, as byte-level tokenizers have them for rare characters."""

    pad_token_id = bos_token_id = eos_token_id = None

    def decode(self, ids, **options) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


KINDS = ["llama", "fast_llama", "gpt2", "t5"]
CAUSAL = ["llama", "fast_llama", "gpt2"]


def generated(backbone, embeddings, **options) -> list[int]:
    """What `transformers` writes for one row, up to its end token."""
    mask = torch.ones(embeddings.shape[:2], dtype=torch.long)
    ids = backbone.lm.generate(inputs_embeds=embeddings, attention_mask=mask, **options)[0].tolist()
    ids = ids[1:] if backbone.kind == "encoder_decoder" else ids
    return ids[: ids.index(END) + 1] if END in ids else ids


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beams", [1, 3])
def test_the_ids_are_those_of_transformers(kind, beams):
    backbone = backbone_of(kind)
    for embeddings in prompts(backbone, [1, 5, 11]):
        expected = generated(backbone, embeddings, max_new_tokens=20, num_beams=beams, do_sample=False)
        got = decode(backbone, embeddings, how=Decoding(max_tokens=20, beams=beams))
        assert got.ids[0] == expected
        assert got.texts[0] == Letters().decode(expected)
        assert got.ended[0] == ("end" if expected[-1] == END else "length")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("how", [Decoding(max_tokens=16), Decoding(max_tokens=16, temperature=0.8, seed=5)])
def test_rows_of_a_batch_give_what_each_gives_alone(kind, side, how):
    backbone = backbone_of(kind)
    alone = prompts(backbone, [7, 2, 12, 5])
    B, L = len(alone), 12
    embeddings, mask = torch.full((B, L, 32), 9.0), torch.zeros(B, L, dtype=torch.bool)
    for row, one in enumerate(alone):
        at = slice(L - one.shape[1], L) if side == "left" else slice(0, one.shape[1])
        embeddings[row, at], mask[row, at] = one[0], True
    how = replace(
        how, stop=[decode(backbone, alone[0], how=how).texts[0][3]]
    )  # so that rows end before others
    together = decode(backbone, embeddings, mask, how)
    for row, one in enumerate(alone):
        single = decode(backbone, one, how=replace(how, seed=None if how.seed is None else how.seed + row))
        assert (together.ids[row], together.texts[row], together.ended[row]) == (
            single.ids[0],
            single.texts[0],
            single.ended[0],
        )
    assert together.ended[0] == "stop"
    assert len({len(ids) for ids in together.ids}) > 1


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_second_turn_feeds_new_tokens_only_and_equals_a_fresh_run(kind):
    backbone = backbone_of(kind)
    first, second = prompts(backbone, [6, 4])
    how = Decoding(max_tokens=7)
    one = decode(backbone, first, how=how)
    read = 6 + len(one.ids[0]) - 1
    assert one.cache.get_seq_length() == read  # the last token was written, not read
    unread = backbone.embed(torch.tensor([one.ids[0][-1:]]))
    two = decode(backbone, torch.cat([unread, second], 1), how=how, cache=one.cache)
    written = backbone.embed(torch.tensor(one.ids))
    fresh = decode(backbone, torch.cat([first, written, second], 1), how=how)
    assert two.ids == fresh.ids
    assert two.cache.get_seq_length() == fresh.cache.get_seq_length()


def test_draws_follow_the_distribution_of_transformers():
    backbone = backbone_of("llama")
    (embeddings,) = prompts(backbone, [5])
    draws = 3000
    options = {"temperature": 1.3, "top_k": 12, "top_p": 0.9}
    torch.manual_seed(0)
    expected = (
        backbone.lm.generate(
            inputs_embeds=embeddings.expand(draws, -1, -1),
            attention_mask=torch.ones(draws, 5, dtype=torch.long),
            do_sample=True,
            max_new_tokens=1,
            **options,
        )[:, 0].bincount(minlength=V)
        / draws
    )
    got = decode(backbone, embeddings.expand(draws, -1, -1), how=Decoding(max_tokens=1, seed=0, **options))
    got = torch.tensor(got.ids)[:, 0].bincount(minlength=V) / draws
    assert torch.equal(got > 0, expected > 0)  # the same tokens are left out
    assert 1 < (got > 0).sum() <= 12
    # Two samples of 3,000 from one distribution over 12 differ by about 0.03 in total variation.
    assert 0.5 * (got - expected).abs().sum() < 0.06


def test_a_seed_repeats_and_top_k_of_one_is_greedy():
    backbone = backbone_of("gpt2")
    (embeddings,) = prompts(backbone, [5])
    a, b, c = (
        decode(backbone, embeddings, how=Decoding(max_tokens=12, temperature=1.5, seed=seed)).ids
        for seed in (3, 3, 4)
    )
    assert a == b != c
    greedy = decode(backbone, embeddings, how=Decoding(max_tokens=12)).ids
    assert decode(backbone, embeddings, how=Decoding(max_tokens=12, temperature=2.0, top_k=1)).ids == greedy


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_a_stream_add_up_to_the_text(kind):
    backbone = backbone_of(kind)
    (embeddings,) = prompts(backbone, [9])
    whole = decode(backbone, embeddings, how=Decoding(max_tokens=15))
    pieces = list(stream(backbone, embeddings, Decoding(max_tokens=15)))
    assert "".join(pieces) == whole.texts[0]
    assert len(pieces) > 3


def test_a_stop_string_across_tokens_ends_the_text_unseen():
    backbone = backbone_of("llama")
    (embeddings,) = prompts(backbone, [9])
    text = decode(backbone, embeddings, how=Decoding(max_tokens=15)).texts[0]
    stop = text[4:7]
    at = text.index(stop)
    for beams in (1, 2):
        if beams == 2:
            text = decode(backbone, embeddings, how=Decoding(max_tokens=15, beams=2)).texts[0]
            stop = text[4:7]
            at = text.index(stop)
        got = decode(backbone, embeddings, how=Decoding(max_tokens=15, beams=beams, stop=["none", stop]))
        assert (got.texts[0], got.ended[0]) == (text[:at], "stop")
        assert sum(id > END for id in got.ids[0]) == at + 3  # special tokens have no letter


def test_pieces_hold_back_what_may_become_a_stop_string_and_give_it_out_when_not():
    spelled = SimpleNamespace(decode=lambda ids, **_: "".join("CABX"[id] for id in ids))
    pieces = TextPieces(spelled, ["CAB", "AA"])
    assert [pieces.add(id) for id in (3, 0, 1, 3)] == ["X", "", "", "CAX"]
    assert [pieces.add(id) for id in (0, 1, 2)] == ["", "", ""]
    assert pieces.stopped
    assert pieces.text == "XCAX"
    ending = TextPieces(spelled, ["CAB"])
    assert ending.add(0) + ending.add(1) == ""
    assert ending.finish() == "CA"


def test_characters_of_several_tokens_appear_whole():
    text = "né 🦊 狐狸!"
    pieces = TextPieces(Bytes(), ["\n\n"])
    given = [pieces.add(byte) for byte in text.encode()]
    assert "\ufffd" not in "".join(given)
    assert "".join(given) == text
    assert "🦊" in given
    cut = TextPieces(Bytes())
    assert "".join(cut.add(byte) for byte in "狐".encode()[:2]) == ""
    assert cut.finish() == "\ufffd"


def test_a_full_context_is_refused_and_a_nearly_full_one_ends_by_length():
    backbone = backbone_of("llama")
    with pytest.raises(DecodingError, match="takes 128 positions and leaves no room"):
        decode(backbone, torch.randn(1, 128, 32))
    got = decode(backbone, torch.zeros(1, 125, 32), how=Decoding(max_tokens=50))
    assert len(got.ids[0]) <= 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"temperature": -1}, "temperature=-1"),
        ({"top_p": 0}, "top_p=0"),
        ({"beams": 2, "temperature": 1}, "drop one of them"),
        ({"max_tokens": "5"}, "max_tokens='5'; expected a whole number"),
        ({"temperature": None}, "temperature=None; expected a number"),
        ({"beams": 100_000}, "beams=100000; expected 1 to 64"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"seed": 1 << 70}, "expected None or a whole number from 0 to"),
        ({"stop": "x"}, "list of non-empty strings"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(DecodingError, match=message):
        Decoding(**wrong)
