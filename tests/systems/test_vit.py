"""ViT against `ViTForImageClassification` on the same weights, pictures and labels."""

from types import SimpleNamespace

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from sensorium.data.sample import Column
from sensorium.facade import Predictor
from sensorium.models.fusion_network import FusionNetwork
from sensorium.objectives.supervised import Supervised
from sensorium.systems.vit import OneColumn, from_transformers, to_transformers, vit
from sensorium.tasks import Number, OneOf

LABELS = ["cat", "dog", "ship"]


@pytest.fixture
def theirs() -> ViTForImageClassification:
    config = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        id2label=dict(enumerate(LABELS)),
        label2id={name: place for place, name in enumerate(LABELS)},
    )
    model = ViTForImageClassification(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


class Rows(SimpleNamespace):
    def __len__(self) -> int:
        return 3


def batch_of(model: FusionNetwork, pictures) -> Rows:
    inputs = model.by_column["image"].prepare(pictures)
    present = torch.ones(3, dtype=torch.bool)
    return Rows(columns={"image": Column("image", inputs, present)}, fields={"class": ["ship", "cat", "cat"]})


def test_logits_and_loss_are_those_of_transformers(theirs, pictures):
    ours = from_transformers(theirs)
    batch = batch_of(ours, pictures)
    pixels = batch.columns["image"].inputs["pixels"].float() / 127.5 - 1
    with torch.no_grad():
        expected = theirs(pixel_values=pixels, labels=torch.tensor([2, 0, 0]))
        found = ours(batch).outputs["class"]
        loss = Supervised(ours.tasks)(ours, batch)["class"]
    assert (found - expected.logits).abs().max() < 1e-4
    assert loss.item() == pytest.approx(expected.loss.item(), abs=1e-4)
    [said] = Predictor(ours).predict([{"image": pictures[0]}])
    assert said.answers["class"] == LABELS[int(expected.logits[0].argmax())]


def test_there_and_back_are_the_same_weights(theirs):
    back = to_transformers(from_transformers(theirs))
    assert back.config.id2label == dict(enumerate(LABELS))
    assert back.state_dict().keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="no size 'huge'"):
        vit("huge", [OneOf("class", LABELS)])
    with pytest.raises(ValueError, match="expected one, with one label of several"):
        to_transformers(vit("tiny", [Number("age")]))
    with pytest.raises(ValueError, match="pooling 'mean'"):
        to_transformers(vit("tiny", [OneOf("class", LABELS)], pooling="mean"))
    with pytest.raises(ValueError, match=r"got \['image', 'text'\]; expected one"):
        OneColumn(["image", "text"], 8)
