"""BLIP-2's stage 1 against `transformers`, its causal mask by two routes, and its Q-Former on the way to stage 2."""

from typing import Any

import pytest
import torch
import transformers
from talking import BLOCK, PATCHES, normalised, randomise

from sensorium.data.batch import Collator
from sensorium.data.sample import Sample
from sensorium.systems import blip2, blip2_stage1, system_builder

ATOL = 1e-4
QUERIES = 5


def published(tokenizer: Any, **qformer: Any) -> Any:
    config = transformers.Blip2Config(
        vision_config={**BLOCK, "hidden_size": 40, **PATCHES},
        qformer_config={
            **BLOCK,
            "hidden_size": 24,
            "intermediate_size": 36,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 20,
            "pad_token_id": tokenizer.pad_token_id,
            "use_qformer_text_input": True,
            "encoder_hidden_size": 40,
            **qformer,
        },
        num_query_tokens=QUERIES,
        image_text_hidden_size=12,
    )
    return randomise(transformers.Blip2ForImageTextRetrieval(config))


@pytest.mark.parametrize("every", [1, 2])
@torch.no_grad()
def test_stage_1_is_transformers_image_text_retrieval(every, tokenizer, pictures, texts):
    theirs = published(tokenizer, cross_attention_frequency=every)
    ours = blip2_stage1.from_transformers(theirs, tokenizer)
    encoder = ours.encoders["image"]
    media = ours.media(encoder.prepare(pictures))
    ids, words = ours.read(texts)
    assert not words.all()  # some are shorter: the padding mask is used
    given = {"pixel_values": normalised(encoder, pictures), "input_ids": ids, "attention_mask": words.long()}

    want = theirs(**given, use_image_text_matching_head=False)
    image, text = ours.embed_image(media), ours.embed_text(ids, words)
    torch.testing.assert_close(image, want.image_embeds, atol=ATOL, rtol=0)
    torch.testing.assert_close(text, want.text_embeds, atol=ATOL, rtol=0)
    similarity = ours.similarity(image, text)
    torch.testing.assert_close(similarity, want.logits_per_image, atol=ATOL, rtol=0)
    assert similarity.std() > 30 * ATOL

    want = theirs(**given, use_image_text_matching_head=True).logits_per_image
    torch.testing.assert_close(ours.match(media, ids, words), want, atol=ATOL, rtol=0)
    of = torch.tensor([2, 0, 0])
    pixels = given["pixel_values"][of]
    want = theirs(**{**given, "pixel_values": pixels}, use_image_text_matching_head=True).logits_per_image
    found = ours.match(media, ids, words, of)
    torch.testing.assert_close(found, want, atol=ATOL, rtol=0)
    assert (found - ours.match(media, ids, words)).abs().max() > 30 * ATOL  # the pictures count

    back = blip2_stage1.to_transformers(ours)
    a, b = back.state_dict(), theirs.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@torch.no_grad()
def test_words_at_once_are_words_one_by_one(tokenizer, pictures, texts):
    """The causal mask by two routes; and one pass gives the queries what they are without any text."""
    model = randomise(system_builder("blip2_stage1")("tiny", tokenizer)).double()
    media = model.media({"pixels": model.encoders["image"].prepare(pictures)["pixels"]})
    ids, words = model.read(texts)
    at_once = model.next_words(media, ids, words)
    for row, length in enumerate(words.sum(1).tolist()):
        for n in range(1, length + 1):
            alone = model.next_words(_row(media, row), ids[row : row + 1, :n], words[row : row + 1, :n])
            torch.testing.assert_close(at_once[row, n - 1], alone[0, -1])
    changed = ids.clone()
    changed[:, -1] = 3
    later = model.next_words(media, changed, words)
    assert torch.equal(later[:, :-1], at_once[:, :-1])

    samples = [
        Sample(str(n), {"image": p, "text": t}, {"image": "image", "text": "text"})
        for n, (p, t) in enumerate(zip(pictures, texts))
    ]
    samples[1] = Sample("1", {"text": texts[1]}, {"text": "text"})  # no picture: not a pair
    states = model(Collator(model.by_column)(samples))
    assert states.rows.tolist() == [0, 2]
    kept = states.rows
    torch.testing.assert_close(states.image, model.embed_image(media)[kept])
    torch.testing.assert_close(states.text, model.embed_text(ids, words)[kept])
    begun = ids.clone()
    begun[:, 0] = model.start
    torch.testing.assert_close(model.word_logits(states.written), model.next_words(media, begun, words)[kept])


@torch.no_grad()
def test_the_word_head_is_berts(tokenizer):
    from transformers.models.bert.modeling_bert import BertLMPredictionHead

    model = randomise(system_builder("blip2_stage1")("tiny", tokenizer))
    table = model.encoders["text"].model.words.weight
    config = transformers.BertConfig(
        hidden_size=table.shape[1], vocab_size=len(table), hidden_act="gelu", layer_norm_eps=1e-12
    )
    theirs, head = BertLMPredictionHead(config), model.word_head
    theirs.transform.dense.load_state_dict(head.linear.state_dict())
    theirs.transform.LayerNorm.load_state_dict(head.norm.state_dict())
    theirs.decoder.weight.copy_(table)
    theirs.bias.copy_(head.bias)
    theirs.decoder.bias = theirs.bias
    states = torch.randn(2, 3, table.shape[1])
    torch.testing.assert_close(model.word_logits(states), theirs(states), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_stage_2_begins_with_what_stage_1_learned(tokenizer, pictures):
    first = randomise(system_builder("blip2_stage1")("tiny", tokenizer))
    second = system_builder("blip2")("tiny", tokenizer).eval()
    blip2_stage1.into_stage_2(first, second)
    media = first.media(first.encoders["image"].prepare(pictures))
    queries = second.projectors["image"].parts[0](media).tokens
    torch.testing.assert_close(queries, first.qformer.hidden(media))
    other = blip2.QFormer(128, 128, layers=2, heads=4, hidden=512, queries=3)
    second.projectors["image"].parts[0] = other
    with pytest.raises(
        ValueError, match=r"queries is \(1, 16, 128\) in stage 1 and \(1, 3, 128\) in stage 2"
    ):
        blip2_stage1.into_stage_2(first, second)


def test_a_saved_matcher_opens_and_what_does_not_fit_is_refused(tokenizer, pictures, texts, tmp_path):
    theirs = published(tokenizer)
    theirs.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    transformers.BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    model = system_builder("blip2_stage1")(pretrained=str(tmp_path))
    given = blip2_stage1.from_transformers(theirs, tokenizer)
    media, (ids, words) = model.media(model.encoders["image"].prepare(pictures)), model.read(texts)
    torch.testing.assert_close(model.match(media, ids, words), given.match(media, ids, words))
    assert model.encoders["image"].source == str(tmp_path)
    with pytest.raises(ValueError, match="use_qformer_text_input is false"):
        blip2_stage1.from_transformers(published(tokenizer, use_qformer_text_input=False), tokenizer)
    model.word_head = None
    with pytest.raises(ValueError, match="no word head"):
        model.next_words(media, ids, words)


def _row(media: Any, row: int) -> Any:
    return type(media)(media.tokens[[row]], media.mask[[row]], media.pooled[[row]])
