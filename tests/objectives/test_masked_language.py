"""The two losses of BERT with values known by hand."""

from types import SimpleNamespace

import pytest
import torch

from sensorium.objectives.masked_language import MaskedLanguage


class Model:
    """Every word as likely as another but for one; every pair 3 : 1 for "follows"."""

    def encode(self, inputs):
        return SimpleNamespace(
            tokens=inputs["ids"][..., None].float(), pooled=torch.zeros(len(inputs["ids"]), 1)
        )

    def words(self, states):
        self.asked = states[:, 0].tolist()
        return torch.zeros(len(states), 8)

    def pairs(self, pooled):
        return torch.tensor([3.0, 1.0]).log().expand(len(pooled), 2)


def batch(targets, strange):
    return SimpleNamespace(
        inputs={"ids": torch.arange(6).view(2, 3)},
        targets=torch.tensor(targets),
        strange=torch.tensor(strange),
    )


def test_hidden_words_alone_are_asked_for():
    model = Model()
    losses = MaskedLanguage()(model, batch([[-100, 7, -100], [2, -100, -100]], [0, 1]))
    assert model.asked == [1.0, 3.0]
    assert losses["masked_language"].item() == pytest.approx(torch.log(torch.tensor(8.0)).item())
    want = -(torch.tensor([0.75, 0.25]).log().mean()).item()
    assert losses["next_sentence"].item() == pytest.approx(want)


def test_rows_of_one_text_are_not_asked_whether_it_follows():
    losses = MaskedLanguage()(Model(), batch([[-100, 7, -100], [2, -100, -100]], [-100, -100]))
    assert set(losses) == {"masked_language"}
    losses = MaskedLanguage()(Model(), batch([[-100, 7, -100], [2, -100, -100]], [-100, 0]))
    assert losses["next_sentence"].item() == pytest.approx(-torch.tensor(0.75).log().item())
