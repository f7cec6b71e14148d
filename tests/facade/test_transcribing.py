"""Transcribing by search: the language model's word on a text, and what it decides."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_model import model_of

from sensorium.facade import Assistant
from sensorium.facade.transcribing import speller_of, text_logs
from sensorium.media import Audio
from sensorium.models.letter_counts import LetterCounts
from sensorium.models.speller import Speller, Weights
from sensorium.objectives.spelling import Spelling, letter_vectors

SOUND = Audio(np.linspace(-1, 1, 32, dtype=np.float32), 16_000)


@pytest.fixture
def model():
    model = model_of("llama")
    model.prompts = {"transcribe": "Write."}
    spelling = Spelling(letter_vectors(model.backbone, "abc"), scale=3.0)
    model.speller = Speller(spelling, "abc", LetterCounts(["ab", "cab"]), Weights(0.5, 0.0, 0.3), beam=8)
    return model.eval()


def test_the_word_on_a_text_is_the_log_of_its_probability_as_the_answer(model):
    tokenizer = model.backbone.tokenizer
    for text, log in zip(texts := ["a", "cabba", "", "bb"], text_logs(model, texts)):
        before = "<|start|>user\nWrite.<|end|><|start|>assistant\n"
        ids = torch.tensor(tokenizer(before + text + "<|end|>")["input_ids"])
        with torch.no_grad():
            logs = model.logits(model.backbone(model.backbone.embed(ids)[None]))[0].log_softmax(-1)
        answer = range(len(ids) - len(text) - 1, len(ids))
        assert log == pytest.approx(sum(float(logs[place - 1, ids[place]]) for place in answer), rel=1e-4)


def test_its_weight_decides_how_much_it_changes(model):
    with torch.no_grad():
        inputs = model.encoders["audio"].encode([SOUND])
    [logits] = model.speller.logits(model, inputs)
    found = model.speller.found(logits)
    assistant = Assistant(model)
    assert assistant.transcribe(SOUND) == found[0].text
    texts = [one.text for one in found]
    words = dict(zip(texts, text_logs(model, texts)))
    model.speller.weights = replace(model.speller.weights, words=1e6)
    assert assistant.transcribe(SOUND, max_tokens=5) == max(texts, key=words.__getitem__) != found[0].text


def test_options_are_still_those_of_decoding(model):
    with pytest.raises(ValueError, match="no option 'beam'"):
        Assistant(model).transcribe(SOUND, beam=3)


def test_a_model_without_letters_has_none_to_search():
    with pytest.raises(ValueError, match="does not spell"):
        speller_of(model_of("llama"))
