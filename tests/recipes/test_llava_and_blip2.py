"""Both stages of LLaVA on a user's file, and BLIP-2's second stage, at a debug size: trained, scored, opened again."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.models.decoding import Decoding, decode
from sensorium.recipes.blip2 import blip2
from sensorium.recipes.llava import llava, right_tokens, split
from sensorium.recipes.scene_questions import collator
from sensorium.systems import system_builder
from sensorium.systems.smol_llava import smol_llava
from sensorium.training.checkpoint import load_model
from sensorium.training.loop import fit

COLOURS = {
    "red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200), "white": (255, 255, 255), "black": (0, 0, 0),
    "grey": (128, 128, 128),
}  # fmt: skip
DEBUG = {"steps": 1, "batch_size": 2, "progress": False}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """LLaVA's JSON: two conversations about each of six pictures."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for name, colour in COLOURS.items():
        Image.fromarray(np.full((40, 40, 3), colour, np.uint8)).save(folder / f"{name}.png")
        for number, question in enumerate(("What colour is it?", "And the ground?")):
            turns = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": name}]
            rows.append({"id": f"{name}-{number}", "image": f"{name}.png", "conversations": turns})
    (folder / "chats.json").write_text(json.dumps(rows))
    return folder / "chats.json"


@pytest.fixture(scope="module")
def stages(file, tmp_path_factory):
    """Stage 1 from the published parts, stage 2 from stage 1, the whole language model from stage 2."""
    folders = [tmp_path_factory.mktemp(name) for name in ("projector", "lora", "full")]
    results, start = [], None
    for folder in folders[:2]:
        run = llava(
            file,
            start,
            folder,
            train=folder.name.rstrip("0"),
            held_out=0.4,
            cache=file.parent / "cache",
            **DEBUG,
        )
        results.append(fit(run))
        start = folder
    return folders, results


def test_stage_1_moves_the_connector_only_and_stage_2_lora_too(stages):
    folders, _ = stages
    torch.manual_seed(0)
    fresh = smol_llava(tuned=()).state_dict()
    first, second = (load_model(folder, system_builder).state_dict() for folder in folders[:2])
    moved = [
        {name for name in after if not torch.equal(before[name], after[name])}
        for before, after in ((fresh, first), (first, second))
    ]
    assert moved[0]
    assert all(name.startswith("projectors.") for name in moved[0])
    assert any(".lora_B" in name for name in moved[1])
    assert all(name.startswith("projectors.") or ".lora_" in name for name in moved[1])


def test_held_out_tokens_stand_beside_blind_ones(stages):
    _, results = stages
    score = results[1].scores["held_out.tokens"]
    assert 0 <= score["value"] <= 1
    assert None not in (score["blind_withheld"], score["blind_shuffled"])


def test_conversations_about_one_picture_stay_together(file):
    from sensorium.data.readers import read_conversations

    kept, tested = split(list(read_conversations(file)), 0.4, seed=0)
    names = [{sample.id.split("-")[0] for sample in part} for part in (kept, tested)]
    assert names[0] | names[1] == set(COLOURS)
    assert not names[0] & names[1]
    assert len(tested) == 4


def test_sources_beside_a_start_are_refused(stages):
    (first, *_), _ = stages
    with pytest.raises(ValueError, match="no other source"):
        llava(start=first, pretrained="somewhere")


def test_too_few_conversations_are_refused(file):
    with pytest.raises(ValueError, match="got 3 conversations; expected at least 10"):
        llava(file, limit=3)


def test_the_tokens_that_a_model_says_itself_are_right_and_others_are_not():
    torch.manual_seed(0)
    model = smol_llava(size=32, hidden=8, rank=0, tuned=()).eval()
    collate = collator(model)
    ask = {"role": "user", "content": "Name three fruits."}
    prompt = collate.renderer([ask], generation=True)
    embeddings = model.backbone.embed(torch.from_numpy(prompt.ids))[None]
    (said,) = decode(model.backbone, embeddings, how=Decoding(max_tokens=4)).texts
    own, other = right_tokens(
        model,
        collate,
        [
            [ask, {"role": "assistant", "content": said}],
            [ask, {"role": "assistant", "content": "zebra " + said}],
        ],
    )
    assert own >= 4 / 5  # the four, and perhaps the end after them
    assert other < own


@pytest.mark.parametrize("language_model", ["smollm2", "t5-debug"])
def test_blip2_trains_the_q_former_for_either_kind_of_language_model(file, tmp_path, language_model):
    run = blip2(
        file, None, tmp_path, language_model=language_model, queries=3, layers=2, width=16, held_out=0.4,
        cache=file.parent / "cache", **DEBUG,
    )  # fmt: skip
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    result = fit(run)
    assert 0 <= result.scores["held_out.tokens"]["value"] <= 1
    after = dict(load_model(tmp_path, system_builder).named_parameters())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("projectors.") for name in moved)
    batch = run.collate([0, 1])
    assert (batch.decoder_ids is not None) == (language_model == "t5-debug")
