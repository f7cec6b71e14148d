"""BLIP-2 against `transformers`, with a decoder-only and with an encoder-decoder language model."""

from typing import Any

import pytest
import torch
import transformers
from talking import BLOCK, PATCHES, batch, logits, normalised, prompt, randomise

from sensorium.systems import blip2, system_builder
from sensorium.training.adaptation import freeze
from sensorium.training.checkpoint import entries

ATOL = 1e-4
IMAGE_ID, QUERIES = 20, 5
ROWS = [["image", 14, 1, 5, 2], ["image", 3, 8, 4, 11]]
T5 = {
    "model_type": "t5",
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "vocab_size": 24,
}
OPT = {
    "model_type": "opt",
    "hidden_size": 32,
    "ffn_dim": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
LMS = {
    "opt": {**OPT, "vocab_size": 24, "word_embed_proj_dim": 32, "max_position_embeddings": 64},
    "t5": {**T5, "decoder_start_token_id": 0},
    "flan-t5": {**T5, "decoder_start_token_id": 0, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}  # fmt: skip


def published(lm: str, **qformer: Any) -> Any:
    config = transformers.Blip2Config(
        vision_config={**BLOCK, "hidden_size": 40, **PATCHES},
        qformer_config={**BLOCK, "hidden_size": 24, "intermediate_size": 36, **qformer},
        text_config=LMS[lm],
        num_query_tokens=QUERIES,
        image_token_index=IMAGE_ID,
    )
    return randomise(transformers.Blip2ForConditionalGeneration(config))


def answers(lm: str) -> dict[str, torch.Tensor]:
    if lm == "opt":
        return {}
    return {
        "decoder_ids": torch.tensor([[0, 5, 9, 12], [0, 21, 4, 2]]),
        "decoder_attend": torch.tensor([[True] * 4, [True] * 3 + [False]]),
    }


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("lm", LMS)
def test_blip2_is_transformers_blip2(lm, every, tokenizer, pictures):
    theirs = published(lm, cross_attention_frequency=every)
    ours = blip2.from_transformers(theirs, tokenizer)
    assert ours.projectors["image"].length == QUERIES
    ids, slots = prompt(ROWS, QUERIES, IMAGE_ID)
    encoder, decoder = ours.encoders["image"], answers(lm)
    renamed = {"decoder_ids": "decoder_input_ids", "decoder_attend": "decoder_attention_mask"}
    with torch.no_grad():
        want = theirs(
            input_ids=ids,
            pixel_values=normalised(encoder, pictures[:2]),
            **{renamed[name]: value.long() for name, value in decoder.items()},
        ).logits
    got = logits(ours, batch(ids, slots, encoder.prepare(pictures[:2]), **decoder))
    real = decoder.get("decoder_attend", torch.ones(want.shape[:2], dtype=torch.bool))
    torch.testing.assert_close(got[real], want[real], atol=ATOL, rtol=0)
    other = logits(ours, batch(ids, slots, encoder.prepare(pictures[1:]), **decoder))
    assert (got - other)[real].abs().max() > 30 * ATOL  # the pictures count
    back = blip2.to_transformers(ours, IMAGE_ID)
    a, b = back.state_dict(), theirs.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert back.config.qformer_config.cross_attention_frequency == every


@pytest.mark.parametrize("lm", ["opt", "t5"])
def test_a_saved_folder_opens_and_its_frozen_parts_are_referred_to(lm, tokenizer, pictures, tmp_path):
    theirs = published(lm)
    theirs.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    size = {"height": 32, "width": 32}
    transformers.BlipImageProcessorPil(size=size).save_pretrained(tmp_path)
    model = system_builder("blip2")(pretrained=str(tmp_path))
    given = blip2.from_transformers(theirs, tokenizer)
    assert model.encoders["image"].make == given.encoders["image"].make
    ids, slots = prompt(ROWS, QUERIES, IMAGE_ID)
    tokens = batch(ids, slots, given.encoders["image"].prepare(pictures[:2]), **answers(lm))
    torch.testing.assert_close(logits(model, tokens), logits(given, tokens))
    freeze(model, blip2.STAGE_2)
    split = entries(model)
    assert set(split.referenced) == {"encoders.image", "backbone"}
    assert {name.split(".")[0] for name in split.saved} == {"projectors"}


@pytest.mark.parametrize("size", ["tiny", "tiny-T5"])
def test_the_tiny_sizes_learn_through_a_frozen_language_model(size, tokenizer, pictures):
    """Another word for each picture after the same prefix: only what the queries read can tell them apart."""
    model = system_builder("blip2")(size, tokenizer)
    freeze(model, blip2.STAGE_2)
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"projectors"}
    ids, slots = prompt([["image", 14, 1]] * 2, 16, IMAGE_ID)
    decoder = {}
    if size == "tiny-T5":
        decoder = {"decoder_ids": torch.zeros(2, 1, dtype=torch.long), "decoder_attend": None}
    tokens = batch(ids, slots, model.encoders["image"].prepare(pictures[:2]), **decoder)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(25):
        last = model(tokens).hidden[:, -1]
        loss = torch.nn.functional.cross_entropy(model.logits(last), torch.tensor([4, 5]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert model.logits(last).argmax(-1).tolist() == [4, 5]  # blind to the picture, both would be one word
    assert losses[-1] < 0.7 * losses[0]
    assert {n for n, p in model.named_parameters() if p.grad is None and p.requires_grad} == set()


class Words(list):
    """What a configuration asks of a tokenizer of so many words."""

    bos_token_id, eos_token_id, pad_token_id = 2, 2, 1


@pytest.mark.parametrize(
    ("size", "words", "billions"),
    # Li et al. 2023, tables 1 and 2, whose Q-Former has text layers, too (0.1 billion), and whose T5 a head of its own
    # (0.07 and 0.13), which transformers ties in a random model.
    [
        ("OPT-2.7B", 50272, 3.8),
        ("OPT-6.7B", 50272, 7.8),
        ("FlanT5-XL", 32128, 4.1),
        ("FlanT5-XXL", 32128, 12.1),
    ],
)
def test_sizes_are_the_papers(size, words, billions):
    with torch.device("meta"):
        config = blip2._config(blip2.SIZES[size], Words(range(words)))
        model = transformers.Blip2ForConditionalGeneration(config)
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e9
    assert billions - 0.25 < count < billions + 0.05


def test_two_published_parts_and_errors(tokenizer, tmp_path):
    clip = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**BLOCK, **PATCHES))
    clip.save_pretrained(tmp_path / "vision")
    crop = {"height": 32, "width": 32}
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=crop).save_pretrained(
        tmp_path / "vision"
    )
    for kind in ("opt", "t5"):
        config = transformers.AutoConfig.for_model(**LMS[kind])
        auto = transformers.AutoModelForSeq2SeqLM if kind == "t5" else transformers.AutoModelForCausalLM
        auto.from_config(config).save_pretrained(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
        model = blip2.blip2(vision=tmp_path / "vision", language_model=tmp_path / kind, queries=7)
        assert model.backbone.kind == ("encoder_decoder" if kind == "t5" else "causal")
        assert model.projectors["image"].length == 7
        assert model.encoders["image"].layer == -2
    with pytest.raises(ValueError, match=r"encoders\.image: got CLIPVisionModel"):
        blip2.to_transformers(model, IMAGE_ID)
    adapted = blip2.from_transformers(published("opt"), tokenizer)
    adapted.backbone.add_lora(2)
    with pytest.raises(ValueError, match="merge LoRA first"):
        blip2.to_transformers(adapted, IMAGE_ID)
    with pytest.raises(ValueError, match=r"no size 'huge'; there are: tiny, tiny-T5, OPT-2\.7B"):
        blip2.blip2("huge", tokenizer)
    with pytest.raises(ValueError, match="expected sources of both"):
        blip2.blip2(language_model="x")
