"""BERT and GPT at a debug size: trained, scored, interrupted, resumed and opened again."""

import json

import numpy as np
import pytest
import torch

from sensorium.recipes import recipe_function
from sensorium.recipes.gpt_tests import Item, item_scores
from sensorium.systems import system_builder
from sensorium.training.checkpoint import find, load_model
from sensorium.training.loop import fit

DEBUG = {"languages": ("en", "fr"), "limit": 16, "words": 600, "batch_size": 4, "progress": False}


def losses(folder):
    records = map(json.loads, (folder / "history.jsonl").read_text().splitlines())
    return [{k: v for k, v in one.items() if k.startswith("loss")} for one in records if "loss" in one]


@pytest.fixture(scope="module")
def trained_bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    return folder, fit(recipe_function("bert")(folder=folder, steps=4, **DEBUG))


def test_bert_is_scored_beside_its_baselines_and_opens_again(trained_bert):
    folder, trained = trained_bert
    assert {"loss", "loss/masked_language", "loss/next_sentence"} <= set(trained.steps[0])
    assert trained.steps[0]["loss/masked_language"] == pytest.approx(
        np.log(600), abs=0.5
    )  # knows nothing yet
    scores = json.loads((folder / "metrics.json").read_text())
    words = scores["hidden_words.perplexity"]
    assert 1 < words["majority"] < 600
    assert scores["follows.tags.accuracy"]["majority"] == 0.5
    assert scores["follows.tags.shared_piece.accuracy"]["value"] > 0.6  # a name's words stand among its tags
    probe = scores["group_of_name.linear.accuracy"], scores["group_of_name.linear.untrained"]
    gain = scores["group_of_name.linear.gain"]["value"]
    assert gain == pytest.approx(probe[0]["value"] - probe[1]["value"])
    opened = load_model(trained.checkpoint, system_builder)
    mine = trained.model.eval().encoder.encode(["red apple", "loup"]).pooled
    assert torch.equal(opened.encoder.encode(["red apple", "loup"]).pooled, mine)


def test_an_interrupted_bert_hides_the_same_words_when_it_goes_on(trained_bert, tmp_path):
    whole, _ = trained_bert
    run = recipe_function("bert")(folder=tmp_path, steps=4, **DEBUG)
    run.save_every = 2
    collate, batches = run.collate, []

    def interrupted(places):
        batches.append(places)
        if len(batches) == 5:  # the preflight's, three steps' and the one that is never made
            raise KeyboardInterrupt
        return collate(places)

    run.collate = interrupted
    with pytest.raises(KeyboardInterrupt):
        fit(run)
    assert find(tmp_path).name == "step-00000002"
    fit(recipe_function("bert")(folder=tmp_path, steps=4, **DEBUG))
    assert losses(tmp_path) == losses(whole)
    one, other = ((find(folder) / "model.safetensors").read_bytes() for folder in (tmp_path, whole))
    assert one == other


def test_gpt_is_asked_with_no_one_and_eight_examples_and_opens_again(tmp_path):
    trained = fit(recipe_function("gpt")(folder=tmp_path, steps=2, length=32, **DEBUG))
    scores = json.loads((tmp_path / "metrics.json").read_text())
    assert scores["perplexity.untrained"]["value"] == pytest.approx(600, rel=0.3)
    for shots in (0, 1, 8):
        assert scores[f"own_tags.{shots}_shot.accuracy"]["majority"] == 0.25
        assert scores[f"group.{shots}_shot.accuracy"]["n"] == 16
    opened = load_model(trained.checkpoint, system_builder)
    encoded = opened.backbone.tokenizer("red apple")["input_ids"]
    items = [Item([0], [encoded, encoded[:-1]], 0, "")]
    assert np.array_equal(item_scores(opened, items), item_scores(trained.model.eval(), items))


def test_a_candidate_scores_what_the_model_gives_it_behind_its_prompt(tmp_path):
    """Two routes to one number: the shared prompt, and each text read alone."""
    torch.manual_seed(0)
    run = recipe_function("gpt")(folder=tmp_path, steps=1, **DEBUG)
    model = run.model.eval()
    prompt, candidates = [0, 50, 60, 70], [[80, 90], [81], [80, 91, 92]]
    got = item_scores(model, [Item(prompt, candidates, 0, ""), Item(prompt[:2], candidates, 0, "")])
    for row, start in enumerate((prompt, prompt[:2])):
        for column, candidate in enumerate(candidates):
            ids = torch.tensor([start + candidate])
            with torch.no_grad():
                log_p = model.backbone.lm(input_ids=ids).logits.log_softmax(-1)[0]
            places = range(len(start) - 1, ids.shape[1] - 1)
            want = sum(log_p[place, ids[0, place + 1]].item() for place in places)
            assert got[row, column] == pytest.approx(want, abs=1e-3)
