"""The bundled names, tags and captions as documents, and windows of one language."""

import numpy as np
import pytest

from sensorium.data.text_corpus import Document, Windows, as_batch, documents, halves
from sensorium.data.trained_tokenizer import as_json, byte_pairs, opened, word_pieces

TEXTS = ["Grüße, fox", "der Fuchs läuft", "fox and whale", "ein Wal", "le renard, la baleine"] * 3


def test_captions_fall_into_halves():
    assert halves("a red fox") == ("a red fox", "")
    assert halves("a red fox runs") == ("a red", "fox runs")
    assert halves("a red fox runs home") == ("a red fox", "runs home")


@pytest.fixture(scope="module")
def train() -> list[Document]:
    return documents("train", ("en", "de"))


def test_no_thing_is_on_both_sides_and_languages_are_side_by_side(train):
    test = documents("test", ("en", "de"))
    assert not {one.thing for one in train} & {one.thing for one in test}
    assert (len(train), sum(one.group is not None for one in train)) == (2 * 1422 + 2 * 757 - 1, 2 * 1422)
    fox = {one.language: one for one in [*train, *test] if one.thing == "1f98a"}
    assert fox["en"].first == "fox"
    assert fox["de"].text.startswith("Fuchs: ")
    assert fox["en"].group == "animals-nature"
    few = documents("train", ("en",), limit=16)
    assert len(few) == 32
    assert len({one.group for one in few}) > 5
    with pytest.raises(ValueError, match="languages: got xx; expected some of"):
        documents("train", ("en", "xx"))
    with pytest.raises(ValueError, match="split of the corpus"):
        documents("validation")


def test_a_window_begins_with_its_document_and_stays_in_its_language():
    tokenizer = byte_pairs(TEXTS, 300)
    made = [
        Document(f"{language}{i}", language, f"{letter * (i + 1)}", "x, y", ("x", "y"))
        for language, letter in (("en", "e"), ("de", "d"))
        for i in range(3)
    ]
    windows = Windows(made, tokenizer, length=40)
    np.random.seed(0)
    orders = set()
    for place, document in enumerate(made):
        ids = windows[place].tolist()
        assert len(ids) == 41
        assert ids[0] == tokenizer.eos_token_id
        text = tokenizer.decode(ids)
        first = text.split("<|endoftext|>")[1]
        assert first in (f"{document.first}: x, y", f"{document.first}: y, x")
        orders.add(first.endswith("y"))
        assert ("e" in text.replace("endoftext", "")) == (document.language == "en")
    assert orders == {True, False}  # tags come in any order
    np.random.seed(3)
    again = windows[2].tolist()
    np.random.seed(3)
    assert windows[2].tolist() == again
    batch = as_batch([again])
    assert batch.ids[0].tolist() == again[:-1]
    assert batch.targets[0].tolist() == again[1:]
    with pytest.raises(IndexError):
        windows[6]


@pytest.mark.parametrize("learn", [word_pieces, byte_pairs])
def test_a_tokenizer_is_the_same_whenever_it_is_learned_and_survives_json(learn, train):
    texts = [one.text for one in train[:800]]
    one, other = learn(texts, 900), learn(list(texts), 900)
    assert as_json(one) == as_json(other)
    assert len(one) == 900
    again = opened(as_json(one))
    assert as_json(again) == as_json(one)
    for text in texts[:20]:
        assert again(text)["input_ids"] == one(text)["input_ids"]
        if learn is byte_pairs:
            assert one.decode(one(text)["input_ids"]) == text
    with pytest.raises(ValueError, match="give more words"):
        learn(texts, 50)


def test_word_pieces_stand_between_marks_and_unknown_signs_have_one():
    tokenizer = word_pieces(TEXTS, 90)
    assert tokenizer.convert_ids_to_tokens(tokenizer("Fox 猫")["input_ids"]) == [
        "[CLS]",
        "fox",
        "[UNK]",
        "[SEP]",
    ]
    assert tokenizer.mask_token_id == 4
    assert tokenizer.pad_token_id == 0
    assert "##ch" not in tokenizer.all_special_tokens
    with pytest.raises(ValueError, match="got keys"):
        opened({"tokenizer": {}})
