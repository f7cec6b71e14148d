"""Both stages on composed scenes at a debug size: trained, scored, saved and opened again."""

import numpy as np
import pytest
import torch

from sensorium.data.scenes import GROUNDS, Scenes, as_conversations
from sensorium.recipes.scene_names import CellCollator, scene_names
from sensorium.recipes.scene_questions import answers, collator, scene_questions
from sensorium.systems import system_builder
from sensorium.systems.smol_llava import smol_llava
from sensorium.training.checkpoint import load_model
from sensorium.training.loop import fit


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene_names")
    return folder, fit(scene_names(folder, steps=2, batch_size=2, scenes=3, progress=False))


@pytest.fixture(scope="module")
def trained(named, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene_questions")
    options = {"steps": 1, "batch_size": 1, "scenes": 2, "splits": ("unseen_artist",), "progress": False}
    return folder, fit(scene_questions(named[0], folder, **options))


def test_stage_1_trains_and_scores(named):
    _, result = named
    assert result.steps[1]["loss/naming"] < result.steps[0]["loss/naming"] * 1.5
    score = result.scores["cells.unseen_artist.accuracy"]
    assert 0 <= score["value"] <= 1
    assert score["blind_shuffled"] is not None


def test_stage_2_begins_with_what_stage_1_learned_and_scores_every_kind(named, trained):
    folder, result = trained
    assert {name.split(".")[2] for name in result.scores} >= {"ground", "there", "how_many", "accuracy"}
    score = result.scores["scenes.unseen_artist.ground.accuracy"]
    assert {"value", "low", "high", "blind_withheld", "blind_shuffled", "majority", "n"} <= set(score)

    first, then = (load_model(run, system_builder).state_dict() for run in (named[0], folder))
    moved = (
        then["projectors.image.parts.0.lift.weight"] - first["projectors.image.parts.0.lift.weight"]
    ).abs()
    assert 0 < moved.max() < 0.01


def test_cells_are_what_covers_them():
    stream = Scenes("train")
    classes = [*(thing.en for thing in stream.things), *GROUNDS]
    collate = CellCollator(torch.nn.Identity(), stream, classes, None)
    scene = next(scene for scene in map(stream.scene, range(99)) if len(scene.things) == 1)
    cells, mask = collate.cells(scene).reshape(7, 7), stream.masks(scene)[0]
    x, y = (int(n) // 32 for n in scene.things[0].centre)
    assert mask[y * 32 : y * 32 + 32, x * 32 : x * 32 + 32].mean() >= 0.2
    assert classes[cells[y, x]] == scene.things[0].thing.en
    assert set(np.unique(cells)) == {
        classes.index(scene.things[0].thing.en),
        classes.index(scene.ground, 150),
    }


def test_an_answer_is_right_exactly_when_greedy_decoding_gives_it():
    """Teacher forcing must say the same as decoding token by token, of an untrained connector too."""
    torch.manual_seed(0)
    model = smol_llava(size=32, hidden=8, rank=0, tuned=()).eval()
    collate = collator(model)
    picture = np.zeros((32, 32, 3), np.uint8)
    stream = Scenes("train")
    (asked, *_) = as_conversations(stream.questions(stream.scene(0))[:1], {"image": picture})
    prompt = collate.renderer(asked[:1], generation=True)
    embeddings = model.embed(collate([asked]))  # holds the prompt, and the right answer behind it
    ids: list[int] = []
    with torch.no_grad():
        for _ in range(4):
            head = embeddings[:, : len(prompt)]
            said = model.backbone.embed(torch.tensor([ids], dtype=torch.long)) if ids else head[:, :0]
            states = model.backbone(torch.cat([head, said.to(head.dtype)], 1))
            ids.append(int(model.logits(states[:, -1]).argmax()))
    greedy = model.backbone.tokenizer.decode(ids, skip_special_tokens=True)
    told = [asked[0], {"role": "assistant", "content": greedy}]
    assert answers(model, collate, [told])[0].startswith(greedy)
    wrong = [asked[0], {"role": "assistant", "content": "zebra " + greedy}]
    assert not answers(model, collate, [wrong])[0].startswith("zebra")
