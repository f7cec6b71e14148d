"""BLIP against `transformers`: both heads of its matcher, its captioner and its answerer, losses included."""

from typing import Any

import pytest
import torch
import transformers
from talking import BLOCK, PATCHES, normalised, randomise

from sensorium.models.encoder_decoder import Words
from sensorium.objectives.captioning import Captioning
from sensorium.systems import blip, system_builder

ATOL = 1e-4
WORDS = {
    "vocab_size": 30,
    "max_position_embeddings": 32,
    "bos_token_id": 22,
    "eos_token_id": 2,
    "sep_token_id": 21,
    "pad_token_id": 0,
}


def published(kind: str, vision: int = 40) -> Any:
    config = transformers.BlipConfig(
        vision_config={**BLOCK, "hidden_size": vision, **PATCHES, "initializer_range": 0.02},
        text_config={**BLOCK, **WORDS, "label_smoothing": 0.1},
        image_text_hidden_size=24,
    )
    return randomise(getattr(transformers, kind)(config))


def texts(*rows: list[int], mark: int | None = None) -> Words:
    T = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (T - len(row))] for row in rows])
    if mark is not None:
        ids[:, 0] = mark
    return Words(ids, torch.tensor([[n < len(row) for n in range(T)] for row in rows]))


CAPTIONS = ([20, 5, 9, 11, 21], [20, 7, 21], [20, 3, 4, 21])
QUESTIONS = ([20, 12, 9, 21], [20, 2, 21], [20, 8, 1, 21])


def same_weights(ours: Any, theirs: Any) -> None:
    back = blip.to_transformers(ours, type(theirs).__name__).state_dict()
    assert back.keys() == theirs.state_dict().keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in theirs.state_dict().items())


@torch.no_grad()
def test_both_heads_are_those_of_the_published_matcher(tokenizer, pictures):
    theirs = published("BlipForImageTextRetrieval")
    ours = blip.from_transformers(theirs, tokenizer)
    words, pixels = texts(*CAPTIONS), normalised(ours.vision, pictures)
    given = {"input_ids": words.ids, "pixel_values": pixels, "attention_mask": words.mask.long()}
    tokens, pooled = ours.see(ours.vision.prepare(pictures))
    cosines = ours.embed_image(pooled) @ ours.embed_text(words).T
    want = theirs(**given, use_itm_head=False).itm_score
    torch.testing.assert_close(cosines, want, atol=ATOL, rtol=0)
    want = theirs(**given, use_itm_head=True).itm_score
    torch.testing.assert_close(ours.match(words, tokens), want, atol=ATOL, rtol=0)
    assert (ours.match(words, tokens.roll(1, 0)) - want).abs().max() > 30 * ATOL  # the pictures count
    same_weights(ours, theirs)


@torch.no_grad()
def test_words_and_loss_are_those_of_the_published_captioner(tokenizer, pictures):
    theirs = published("BlipForConditionalGeneration")
    ours = blip.from_transformers(theirs, tokenizer)
    words = texts(*CAPTIONS, mark=22)
    out = theirs(
        pixel_values=normalised(ours.vision, pictures),
        input_ids=words.ids,
        attention_mask=words.mask.long(),
        labels=words.ids.masked_fill(~words.mask, -100),
    )
    tokens, _ = ours.see(ours.vision.prepare(pictures))
    logits = ours.next_words(ours.decode(words, tokens))
    torch.testing.assert_close(logits[words.mask], out.logits[words.mask], atol=ATOL, rtol=0)
    loss = Captioning(smoothing=0.1).of(ours, words, tokens)
    torch.testing.assert_close(loss, out.loss, atol=ATOL, rtol=0)
    written = theirs.generate(normalised(ours.vision, pictures), max_length=8)
    assert ours.write(tokens, most=8).tolist() == written.tolist()
    assert ours.markers["decode"] == 22
    same_weights(ours, theirs)
    with pytest.raises(ValueError, match="it writes only"):
        ours.embed_text(words)
    with pytest.raises(ValueError, match="lacks"):
        blip.to_transformers(ours, "BlipForQuestionAnswering")


@torch.no_grad()
def test_answers_and_loss_are_those_of_the_published_answerer(tokenizer, pictures):
    # Its decoder looks at the encoder's words with what the encoder looks at pictures with: one width for both.
    theirs = published("BlipForQuestionAnswering", vision=32)
    ours = blip.from_transformers(theirs, tokenizer)
    asked, answers = texts(*QUESTIONS), texts(*CAPTIONS, mark=22)
    pixels = normalised(ours.vision, pictures)
    seen = {"input_ids": asked.ids, "attention_mask": asked.mask.long(), "pixel_values": pixels}
    out = theirs(
        **seen,
        decoder_input_ids=answers.ids,
        decoder_attention_mask=answers.mask.long(),
        labels=answers.ids.masked_fill(~answers.mask, -100),
    )
    tokens, _ = ours.see(ours.vision.prepare(pictures))
    memory = ours.ground(asked, tokens)
    loss = Captioning(smoothing=0.1).of(ours, answers, memory, asked.mask)
    torch.testing.assert_close(loss, out.loss, atol=ATOL, rtol=0)
    # Their output has no logits of the answer: their decoder's, on what their encoder made of the question.
    decoded = theirs.text_decoder(
        input_ids=answers.ids,
        attention_mask=answers.mask.long(),
        encoder_hidden_states=theirs.text_encoder(
            input_ids=asked.ids,
            attention_mask=asked.mask.long(),
            encoder_hidden_states=theirs.vision_model(pixels).last_hidden_state,
        ).last_hidden_state,
        encoder_attention_mask=asked.mask.long(),
    )
    logits = ours.next_words(ours.decode(answers, memory, asked.mask))
    torch.testing.assert_close(logits[answers.mask], decoded.logits[answers.mask], atol=ATOL, rtol=0)
    whole = torch.ones_like(asked.mask)  # in writing, theirs looks at the padding of questions too
    assert ours.write(memory, whole, most=8).tolist() == theirs.generate(**seen, max_length=8).tolist()
    same_weights(ours, theirs)


def test_three_modes_share_their_weights_but_for_self_attention_of_the_decoder(tokenizer):
    model = system_builder("blip")("tiny", tokenizer)
    encoder = dict(model.text.model.named_parameters())
    decoder = dict(model.decoder.bert.named_parameters())
    assert encoder.keys() == decoder.keys()
    own = {name for name in encoder if encoder[name] is not decoder[name]}
    assert own == {name for name in encoder if "layer" in name and ".attention." in name}
    assert len(own) == 3 * 10  # query, key, value, output, norm: weight and bias each, in three layers
    assert model.decoder.cls.predictions.decoder.weight is encoder["embeddings.word_embeddings.weight"]
    assert len({id(p) for p in model.parameters()}) == len(list(model.parameters()))


def test_a_published_folder_opens(tokenizer, pictures, tmp_path):
    theirs = published("BlipForImageTextRetrieval")
    theirs.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    size = {"height": 32, "width": 32}
    transformers.BlipImageProcessorPil(size=size).save_pretrained(tmp_path)
    opened, given = blip.blip(pretrained=str(tmp_path)), blip.from_transformers(theirs, tokenizer)
    assert opened.vision.make == given.vision.make
    words = texts(*CAPTIONS)
    for model in (opened, given):
        tokens, _ = model.see(model.vision.prepare(pictures))
        model.answer = model.match(words, tokens)
    torch.testing.assert_close(opened.answer, given.answer)
    with pytest.raises(ValueError, match=r"got a BlipModel; expected one of BlipForImageTextRetrieval"):
        blip.from_transformers(transformers.BlipModel(theirs.config), tokenizer)


@torch.no_grad()
def test_across_a_bridge_the_whole_picture_stands_before_its_parts(tokenizer, pictures):
    model = blip.from_transformers(published("BlipForImageTextRetrieval"), tokenizer)
    features = model.vision(model.vision.prepare(pictures))
    model.bridge = torch.nn.Linear(model.vision.width, 7)
    tokens, pooled = model.see(features)
    torch.testing.assert_close(tokens[:, 0], model.bridge(pooled))
    torch.testing.assert_close(tokens[:, 1:], model.bridge(features.tokens))


class Vocabulary(list):
    """What a configuration asks of a tokenizer of so many words."""

    sep_token_id, pad_token_id = 102, 0

    def get_added_vocab(self) -> dict[str, int]:
        return {"[DEC]": 30522, "[ENC]": 30523}


def test_the_size_is_the_papers():
    """Li et al. 2022, §4.1 and table 8: ViT-B/16 and BERT-base; 252 million with encoder and decoder shared (table 3:
    `All` but self-attention), counted on the meta device."""
    with torch.device("meta"):
        config = blip._config(blip.SIZES["ViT-B/16"], Vocabulary(range(30524)))
        assert config.text_config.encoder_hidden_size == 768
        config.text_config.is_decoder = True
        vision = transformers.BlipVisionModel(config.vision_config)
        words = transformers.BlipTextModel(config.text_config, add_pooling_layer=False)
    own = sum(p.numel() for name, p in words.named_parameters() if "layer" in name and ".attention." in name)
    count = sum(p.numel() for part in (vision, words) for p in part.parameters()) + own
    assert 250 < count / 1e6 < 254
