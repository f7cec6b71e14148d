"""Rates and openings by depth, beside tables written by hand."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, CLIPTextConfig, CLIPTextModel, ViTConfig, ViTModel

from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.training import optim
from sensorium.training.depth import depths, gradually, layer_rates
from sensorium.training.run import TrainingError

SMALL = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}


def network(encoder: nn.Module) -> nn.Module:
    return nn.ModuleDict({"encoders": nn.ModuleDict({"x": encoder}), "heads": nn.Linear(8, 2)})


def test_depths_of_published_encoders():
    bert = BertModel(BertConfig(vocab_size=20, **SMALL), add_pooling_layer=False)
    assert depths(bert, "") == [["embeddings"], *([f"encoder.layer.{n}"] for n in range(3))]
    vit = ViTModel(ViTConfig(image_size=16, patch_size=8, **SMALL), add_pooling_layer=False)
    assert depths(network(vit), "encoders.x") == [
        ["encoders.x.embeddings"],
        ["encoders.x.layers.0"],
        ["encoders.x.layers.1"],
        ["encoders.x.layers.2", "encoders.x.layernorm"],
    ]
    clip = CLIPTextModel(
        CLIPTextConfig(vocab_size=20, bos_token_id=0, eos_token_id=2, pad_token_id=3, **SMALL)
    )
    assert depths(clip, "")[0] == ["embeddings"]
    assert depths(clip, "")[-1] == ["encoder.layers.2", "final_layer_norm"]
    lite = depths(EfficientNetLite(size=32, width_factor=0.25), "")
    assert lite == [["stem"], *([f"blocks.{n}"] for n in range(6)), ["blocks.6", "head"]]


@pytest.mark.parametrize(
    "encoder", [EfficientNetLite(size=32, width_factor=0.25), BertModel(BertConfig(**SMALL))]
)
def test_every_parameter_has_one_depth(encoder):
    names = [name for name, _ in encoder.named_parameters()]
    found = [
        name
        for patterns in depths(encoder, "")
        for pattern in patterns
        for name in names
        if name == pattern or name.startswith(f"{pattern}.")
    ]
    assert sorted(found) == sorted(names)


def test_what_a_module_holds_itself_comes_before_its_layers():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
            self.token = nn.Parameter(torch.zeros(2))

    assert depths(Own(), "") == [["token"], ["layers.0"], ["layers.1"]]
    with pytest.raises(TrainingError, match="has no list of layers"):
        depths(nn.Linear(2, 2), "")


def test_rates_by_depth_are_those_of_a_table():
    model = network(BertModel(BertConfig(vocab_size=20, **SMALL), add_pooling_layer=False))
    by_hand = {
        "heads.weight": 0.01,
        "encoders.x.encoder.layer.2.output.dense.weight": 0.005,
        "encoders.x.encoder.layer.1.output.dense.weight": 0.0025,
        "encoders.x.encoder.layer.0.attention.self.query.bias": 0.00125,
        "encoders.x.embeddings.word_embeddings.weight": 0.000625,
    }
    rates = optim.peak_rates(model, 0.01, layer_rates(model, "encoders.x", 0.01, 0.5))
    parameters = dict(model.named_parameters())
    assert {name: rates[parameters[name]][1] for name in by_hand} == pytest.approx(by_hand)
    assert {rate for _, rate in rates.values()} == set(by_hand.values())
    with pytest.raises(TrainingError, match=r"decay=1\.5"):
        layer_rates(model, "encoders.x", 0.01, 1.5)


def test_openings_by_depth_are_those_of_a_table():
    model = network(BertModel(BertConfig(vocab_size=20, **SMALL), add_pooling_layer=False))
    assert gradually(model, "encoders.x", 5) == {
        "encoders.x.encoder.layer.2": 5,
        "encoders.x.encoder.layer.1": 10,
        "encoders.x.encoder.layer.0": 15,
        "encoders.x.embeddings": 20,
    }
    with pytest.raises(TrainingError, match="every=0"):
        gradually(model, "encoders.x", 0)
