import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sensorium.encoders.audio import WhisperEncoder
from sensorium.encoders.encoder import Encoder, masked_mean
from sensorium.encoders.image import EfficientNetLite
from sensorium.features import Features


class Words(Encoder):
    """Bags of character codes through a norm and a layer; keeps the lengths of the batches that it saw."""

    modality, width, preparation = "text", 4, "character codes"
    seen: list[list[int]] = []  # noqa: RUF012  (shared with the copy that encodes)

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(128, 4)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.layer = nn.Linear(4, 4)

    def length(self, media: str) -> int:
        return len(media)

    def prepare(self, media):
        T = max(map(len, media))
        ids = torch.tensor([[ord(c) for c in text] + [0] * (T - len(text)) for text in media])
        return {"ids": ids, "mask": ids > 0}

    def forward(self, inputs):
        self.seen.append(inputs["mask"].sum(1).tolist())
        x = self.norm(self.table(inputs["ids"]).transpose(1, 2)).transpose(1, 2)
        tokens = self.layer(self.drop(x))
        return Features(tokens, inputs["mask"], masked_mean(tokens, inputs["mask"]))


TEXTS = ["four", "a", "seven..", "to", "seventeen letters", "six..."]


@pytest.fixture
def words() -> Words:
    Words.seen.clear()
    return Words()


def test_batches_are_sorted_by_length_and_put_back_in_order(words, monkeypatch):
    features = words.encode(TEXTS, batch_size=2, dtype=torch.float32)
    assert Words.seen == [[17, 7], [6, 4], [2, 1]]
    assert features.mask.sum(1).tolist() == [len(text) for text in TEXTS]
    for row, text in enumerate(TEXTS):
        alone = words.encode([text], dtype=torch.float32)
        torch.testing.assert_close(features.tokens[row, : len(text)], alone.tokens[0], atol=1e-6, rtol=0)
        assert (features.tokens[row, len(text) :] == 0).all()
        torch.testing.assert_close(features.pooled[row], alone.pooled[0], atol=1e-6, rtol=0)
    Words.seen.clear()
    monkeypatch.setenv("SENSORIUM_FAST", "0")
    plain = words.encode(TEXTS, batch_size=2)
    assert Words.seen == [[4, 1], [7, 2], [17, 6]]  # as they come
    torch.testing.assert_close(plain.tokens, features.tokens, atol=1e-6, rtol=0)


def test_pooled_alone_is_the_same_pooled(words):
    whole, pooled = words.encode(TEXTS), words.encode(TEXTS, what="pooled")
    assert torch.equal(whole.pooled, pooled.pooled)
    assert pooled.tokens.shape == (6, 1, 4)


def test_nothing_encodes_to_no_rows(words):
    features = words.encode([])
    assert features.pooled.shape == (0, 4)
    assert features.tokens.shape == (0, 1, 4)


def test_a_batch_size_of_nothing_is_refused(words):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        words.encode(TEXTS, batch_size=0)


def test_media_that_are_not_decoded_are_refused(words):
    with pytest.raises(ValueError, match=r"expected a list of text media, got one str"):
        words.encode("one text")
    pictures = EfficientNetLite(size=32)
    with pytest.raises(ValueError, match=r"expected a picture as RGB uint8\[H, W, 3\], got str"):
        pictures.encode(["cat.png"])
    with pytest.raises(ValueError, match=r"got float64\[4, 4, 3\]"):
        pictures.encode([np.zeros((4, 4, 3))])
    with pytest.raises(ValueError, match=r"expected sensorium\.media\.Audio, got str"):
        WhisperEncoder(layers=1).prepare(["speech.wav"])


@pytest.mark.parametrize("fast", ["0", "1"])
def test_encoding_leaves_no_trace(words, fast, monkeypatch):
    """Evaluation mode inside, all modes as they were outside, no statistics moved, no gradients."""
    monkeypatch.setenv("SENSORIUM_FAST", fast)
    words.train()
    words.norm.eval()
    before = copy.deepcopy(words.state_dict())
    first, second = words.encode(TEXTS, dtype=torch.float32), words.encode(TEXTS, dtype=torch.float32)
    assert torch.equal(first.tokens, second.tokens)  # no dropout
    assert not first.pooled.requires_grad
    assert (words.training, words.norm.training, words.drop.training) == (True, False, True)
    assert all(torch.equal(value, before[name]) for name, value in words.state_dict().items())


def test_encoding_follows_the_weights(words):
    """The folded copy that encodes is made anew after a step of training, after loading, and after a cast."""
    old = words.encode(TEXTS, dtype=torch.float32).pooled
    optimizer = torch.optim.AdamW(words.parameters(), lr=0.1)
    words.eval()(words.prepare(TEXTS)).pooled.sum().backward()
    optimizer.step()
    new = words.encode(TEXTS, dtype=torch.float32).pooled
    with torch.no_grad():
        torch.testing.assert_close(new, words(words.prepare(TEXTS)).pooled, atol=1e-6, rtol=0)
    assert (new - old).abs().max() > 0.01
    other = Words()
    words.load_state_dict(other.state_dict())
    expected = other.encode(TEXTS, dtype=torch.float32).pooled
    assert torch.equal(words.encode(TEXTS, dtype=torch.float32).pooled, expected)


def test_identity_is_of_class_config_and_weights(words):
    same = Words()
    same.load_state_dict(words.state_dict())
    assert same.identity == words.identity == pickle.loads(pickle.dumps(words)).identity
    first = words.identity
    with torch.no_grad():
        words.layer.bias[0] += 1e-3
    assert words.identity != first
    with torch.no_grad():
        words.layer.bias.copy_(same.layer.bias)
    assert words.identity == first
    words.norm.train()(torch.randn(8, 4))  # batch statistics are weights too
    assert words.identity != first
    assert EfficientNetLite(stages=(8,)).config != EfficientNetLite().config


def test_identity_changes_when_a_weight_is_replaced(words):
    first = words.identity
    words.layer.weight.data = words.layer.weight.data + 1
    assert words.identity != first


def test_freezing_is_by_pattern_over_names(words):
    words.freeze("table", r"^norm\.")
    frozen = {name for name, p in words.named_parameters() if not p.requires_grad}
    assert frozen == {"table.weight", "norm.weight", "norm.bias"}
    words.freeze().unfreeze("layer.weight")
    assert [name for name, p in words.named_parameters() if p.requires_grad] == ["layer.weight"]
    with pytest.raises(ValueError, match=r"'head' fits no parameter of Words; .* example: table\.weight"):
        words.freeze("head")


def test_frozen_batch_norm_keeps_its_statistics_while_the_rest_trains():
    encoder = EfficientNetLite(size=32).freeze("stem", r"blocks\.[0-4]\.").train()
    assert encoder.training
    frozen, free = encoder.blocks[4][0].project.norm, encoder.blocks[6][0].project.norm
    before = frozen.running_mean.clone(), free.running_mean.clone()
    encoder(encoder.prepare([np.zeros((32, 32, 3), np.uint8)] * 2))
    assert torch.equal(frozen.running_mean, before[0])
    assert not torch.equal(free.running_mean, before[1])
    encoder.unfreeze()
    encoder(encoder.prepare([np.zeros((32, 32, 3), np.uint8)] * 2))
    assert not torch.equal(frozen.running_mean, before[0])


def test_a_wholly_frozen_encoder_is_deterministic_in_a_training_model(words):
    model = nn.ModuleDict({"text": words.freeze(), "head": nn.Linear(4, 2)}).train()
    assert model["head"].training
    inputs = words.prepare(TEXTS)
    assert torch.equal(model["text"](inputs).tokens, model["text"](inputs).tokens)
