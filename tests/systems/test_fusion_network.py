"""The builder of fusion networks: names to parts, and the same network from what a checkpoint records."""

import json

import pytest
import tiny_towers
import torch

from sensorium.encoders.video import FrameEncoder
from sensorium.features import Features
from sensorium.fusion import KINDS
from sensorium.projectors.column import ColumnProjector
from sensorium.systems import system_builder
from sensorium.systems.fusion_network import ENCODERS, PRETRAINED, USUAL, fusion_network
from sensorium.tasks import AnyOf, OneOf

TASKS = [OneOf("mood", ["sad", "glad"]), AnyOf("things", ["cat", "dog", "ship"])]


@pytest.fixture(autouse=True)
def towers(monkeypatch):
    tiny_towers.put_in(monkeypatch)


def test_parts_are_built_by_name():
    model = fusion_network(
        {"photo": "efficientnet_lite0", "title": {"kind": "minilm"}}, TASKS, width=8, drop=0.25
    )
    assert model.columns == ("photo", "title")
    assert [type(encoder) for encoder in model.by_column.values()] == [
        tiny_towers.Colours,
        tiny_towers.Letters,
    ]
    assert [model.projectors[name].width for name in model.columns] == [8, 8]
    assert (model.drop, model.stand_ins, model.fusion.width) == (0.25, None, 8)
    assert [heads["fused"].out_features for heads in model.heads.values()] == [2, 3]


def test_pretrained_encoders_are_frozen_and_the_rest_learns():
    model = fusion_network({"photo": "efficientnet_lite0"}, TASKS, stand_ins=True)
    learns = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    frozen = {name.partition(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert learns == {"projectors", "fusion", "heads", "stand_ins"}
    assert frozen == {"encoders"}


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_is_built_again_from_json(kind):
    args = {"encoders": {"photo": "efficientnet_lite0", "title": "minilm"}, "fusion": kind, "width": 8}
    torch.manual_seed(0)
    model = fusion_network(tasks=TASKS, **args)
    written = json.loads(json.dumps({**args, "tasks": [task.as_json() for task in TASKS]}))
    torch.manual_seed(0)
    again = system_builder("fusion_network")(**written)
    assert again.tasks == tuple(TASKS)
    assert type(again.fusion) is KINDS[kind]
    state = again.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_options_reach_encoders_and_fusions(monkeypatch):
    asked = {}

    def tower(**options):
        asked.update(options)
        return tiny_towers.Colours()

    monkeypatch.setitem(ENCODERS, "efficientnet_lite0", tower)
    model = fusion_network(
        {"photo": {"kind": "efficientnet_lite0", "size": 96}}, TASKS, options={"dropout": 0.5}, width=8
    )
    assert asked == {"size": 96}
    assert model.fusion.layers[2].p == 0.5


def test_names_that_are_none_are_refused_with_the_list():
    with pytest.raises(ValueError, match=r"encoder of column 'photo': got 'eyes'; expected one of .*minilm"):
        fusion_network({"photo": "eyes"}, TASKS)
    with pytest.raises(ValueError, match="Did you mean 'concatenation'"):
        fusion_network({"photo": "efficientnet_lite0"}, TASKS, fusion="concatination")


def test_every_modality_that_has_a_usual_encoder_has_it_frozen():
    assert set(USUAL) >= {"image", "text", "audio", "video"}
    assert set(USUAL.values()) <= set(PRETRAINED) <= set(ENCODERS)


def test_positions_tell_tokens_of_pictures_and_clips_apart(monkeypatch):
    """What a fusion that reads tokens makes of a picture changes with the places of its patches, and only then."""

    class Patches(tiny_towers.Colours):
        def forward(self, inputs):
            tokens = inputs["colours"].repeat(1, 2, 1)  # four tokens, two by two
            return Features(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), tokens.mean(1))

    monkeypatch.setitem(ENCODERS, "efficientnet_lite0", Patches)
    monkeypatch.setitem(ENCODERS, "frames", lambda: FrameEncoder(Patches()))
    torch.manual_seed(0)
    for positions in (False, True):
        model = fusion_network(
            {"photo": "efficientnet_lite0", "clip": "frames", "title": "minilm"},
            TASKS,
            "tokens",
            width=8,
            positions=positions,
        ).eval()
        for name, T in (("photo", 4), ("clip", 3)):
            projector = model.projectors[name]
            tokens = torch.randn(1, T, model.by_column[name].width)
            mask = torch.ones(1, T, dtype=torch.bool)
            back = projector(Features(tokens.flip(1), mask, tokens.mean(1))).tokens.flip(1)
            same = torch.allclose(back, projector(Features(tokens, mask, tokens.mean(1))).tokens)
            assert same is not positions
        assert isinstance(model.projectors["title"], ColumnProjector)
