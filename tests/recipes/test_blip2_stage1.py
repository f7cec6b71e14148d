"""BLIP-2's two stages at a debug size: trained, scored, opened again, and the first stage's queries in the second."""

import json

import pytest
import torch

from sensorium.recipes.blip2 import blip2
from sensorium.recipes.blip2_stage1 import blip2_stage1
from sensorium.recipes.llava import conversations, split
from sensorium.systems import system_builder
from sensorium.systems.smol_blip2_stage1 import pieces, small_tokenizer
from sensorium.training.checkpoint import load_model
from sensorium.training.loop import fit

SHAPE = {"queries": 3, "layers": 2, "width": 16, "size": 64}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """One step of stage 1, its folder and its run."""
    folder = tmp_path_factory.mktemp("stage_1")
    run = blip2_stage1(
        folder, **SHAPE, steps=1, batch_size=8, limit=24, cache=folder / "cache", progress=False
    )
    return folder, run, fit(run)


def test_stage_1_trains_all_but_the_picture_encoder_and_opens_again(first):
    folder, run, trained = first
    assert {name for name in trained.steps[0] if name.startswith("loss/")} == {
        "loss/contrast",
        "loss/matching",
        "loss/writing",
    }
    opened = load_model(folder, system_builder)
    batch = run.collate([0, 1, 2])
    with torch.no_grad():
        a, b = opened(batch), trained.model.eval()(batch)
    assert torch.equal(a.image, b.image)
    assert torch.equal(opened.word_logits(a.written), b_logits := trained.model.word_logits(b.written))
    assert b_logits.shape[-1] == len(run.system_args["vocabulary"]) + 6
    learning = {n.split(".")[0] for n, p in trained.model.named_parameters() if p.requires_grad}
    assert learning == {
        "encoders",
        "qformer",
        "image_head",
        "text_head",
        "match_head",
        "word_head",
        "log_scale",
    }
    assert not any(p.requires_grad for p in trained.model.encoders["image"].parameters())
    assert len(opened.write(a.media, most=3)) == 3


def test_its_scores_stand_beside_blind_chance_and_the_untrained(first):
    written = json.loads((first[0] / "metrics.json").read_text())
    for name in ("unseen_artist", "unseen_artist.untrained"):
        score = written[f"{name}.text_to_image.R@1"]
        assert score["chance"] == pytest.approx(1 / score["n"], rel=0.2)
        assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1
    word = written["unseen_artist.next_word"]
    assert None not in (word["value"], word["blind_withheld"], word["blind_shuffled"])
    assert written["unseen_artist.judged.by_both"]["n"] == written["unseen_artist.judged.by_contrast"]["n"]


def test_stage_2_begins_with_stage_1_and_is_tested_on_what_neither_saw(first, tmp_path):
    folder, run, trained = first
    options = {"language_model": "t5-debug", "limit": 24, "cache": folder / "cache", "progress": False}
    second = blip2(folder=tmp_path, stage_1=folder, **options)
    assert {name: second.system_args[name] for name in SHAPE} == SHAPE
    media = run.collate([0, 1]).columns["image"].inputs
    with torch.no_grad():
        queries = second.model.projectors["image"].parts[0](media).tokens
        torch.testing.assert_close(queries, trained.model.eval().qformer.hidden(media))
    kept, tested = split(conversations(None, 24), 0.1, seed=0)
    assert [sample.id for sample in kept] == [sample.id for sample in run.collate.samples]
    assert tested
    with pytest.raises(ValueError, match="leave data out"):
        blip2(data=tmp_path / "my.json", stage_1_steps=1)


def test_a_small_vocabulary_spells_what_it_does_not_know():
    known = pieces(["red apple", "green apple"])
    tokenizer = small_tokenizer(known)
    assert tokenizer.tokenize("Red apple") == ["red", "apple"]
    assert tokenizer.tokenize("pea") == ["p", "##e", "##a"]
    assert tokenizer.unk_token_id not in tokenizer("an octopus, 3 times")["input_ids"]
    ids = tokenizer("red")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "red", "[SEP]"]
    assert tokenizer.bos_token == "[DEC]"
    assert tokenizer.bos_token_id not in ids
