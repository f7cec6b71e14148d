"""Texts read word by word: padding and neighbours never change a result, and order matters."""

import json

import pytest
import torch
from torch.nn import functional as F

from sensorium.encoders.lstm import LstmEncoder, vocabulary, words_of

TEXTS = ["the red cat sleeps", "dog", "a blue ship runs the red dog a loud cat", "", "zebra"]


def test_texts_become_words_and_signs():
    assert words_of("Don’t PANIC, it's 42!") == ["don't", "panic", ",", "it's", "42", "!"]
    assert words_of("naïve café") == ["naïve", "café"]
    assert words_of("red 红猫cat") == ["red", "红", "猫", "cat"]


def test_the_vocabulary_is_the_most_frequent_words_ties_by_alphabet():
    assert vocabulary(["b a b", "c a b d"]) == ["b", "a", "c", "d"]
    assert vocabulary(["b a b", "c a b d"], most=2) == ["b", "a"]
    assert vocabulary(["b a b", "c a b d"], least=2) == ["b", "a"]
    with pytest.raises(ValueError, match="got 1 words, none of them 2 times"):
        vocabulary(["once"], least=2)


@pytest.mark.parametrize("both_ways", [True, False])
def test_a_batch_gives_what_each_text_gives_alone(both_ways):
    encoder = LstmEncoder(vocabulary(TEXTS), 16, 8, layers=2, both_ways=both_ways).eval()
    together = encoder.encode(TEXTS, dtype=torch.float32)
    for row, text in enumerate(TEXTS):
        alone = encoder.encode([text], dtype=torch.float32)
        count = encoder.token_count(text)
        assert together.mask[row].tolist() == [True] * count + [False] * (10 - count)
        torch.testing.assert_close(together.tokens[row, :count], alone.tokens[0])
        torch.testing.assert_close(together.pooled[row], alone.pooled[0])


def test_pooled_is_where_each_direction_ends_as_the_equations_say():
    encoder = LstmEncoder(["the", "red", "cat"], 8, 4).eval()
    got = encoder.encode(["the red cat"], dtype=torch.float32)
    weights = dict(encoder.lstm.named_parameters())
    words = encoder.embedding.weight[2:5]
    with torch.no_grad():
        ends = []
        for way, order in (("", words), ("_reverse", words.flip(0))):
            h = c = torch.zeros(4)
            for x in order:
                sums = weights[f"weight_ih_l0{way}"] @ x + weights[f"bias_ih_l0{way}"]
                i, f, g, o = (sums + weights[f"weight_hh_l0{way}"] @ h + weights[f"bias_hh_l0{way}"]).chunk(4)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
            ends.append(h)
    torch.testing.assert_close(got.pooled[0], torch.cat(ends))
    torch.testing.assert_close(got.tokens[0, -1, :4], ends[0])
    torch.testing.assert_close(got.tokens[0, 0, 4:], ends[1])


def test_order_counts_and_unknown_words_are_one():
    encoder = LstmEncoder(vocabulary(TEXTS[:3]), 16, 8).eval()
    one, other, strange, stranger = encoder.encode(
        ["red cat", "cat red", "red yak", "red gnu"], dtype=torch.float32
    ).pooled
    assert F.cosine_similarity(one, other, dim=0) < 0.99
    torch.testing.assert_close(strange, stranger)


def test_the_padding_learns_nothing_and_long_texts_are_cut(caplog):
    encoder = LstmEncoder(["a", "b"], 4, 4, limit=3)
    inputs = encoder.prepare(["a b a b a", "b"])
    assert inputs["ids"].tolist() == [[2, 3, 2], [3, 0, 0]]
    assert inputs["truncated"].tolist() == [True, False]
    assert "1 of 2 texts are longer than 3 words" in caplog.text
    encoder(inputs).pooled.sum().backward()
    assert encoder.embedding.weight.grad is not None
    assert encoder.embedding.weight.grad[:2].abs().sum() == 0


def test_the_vocabulary_decides_preparation_and_identity():
    one = LstmEncoder(["a", "b"], 4, 4)
    other = LstmEncoder(["a", "c"], 4, 4)
    other.load_state_dict(one.state_dict())
    assert one.preparation != other.preparation
    rebuilt = LstmEncoder(json.loads(json.dumps(one.words)), 4, 4)
    rebuilt.load_state_dict(one.state_dict())
    assert (rebuilt.identity, rebuilt.preparation) == (one.identity, one.preparation)
    with pytest.raises(ValueError, match="expected different words"):
        LstmEncoder(["a", "a"])
    with pytest.raises(ValueError, match="width: got 5; expected an even number"):
        LstmEncoder(["a"], 5)
