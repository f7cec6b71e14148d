"""Spelling: the loss of CTC over the language model's own letters."""

from itertools import product
from types import SimpleNamespace

import pytest
import torch

from sensorium.features import Features
from sensorium.objectives.spelling import BLANK, Spelling, spelled

LETTERS = "abc"


class Given:
    """A model whose tokens are given."""

    def features(self, name: str, inputs: torch.Tensor) -> Features:
        mask = torch.ones(inputs.shape[:2], dtype=torch.bool)
        mask[1:, 3:] = False
        return Features(inputs, mask, inputs.mean(1))


def batch(tokens: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(inputs=tokens, letters=torch.tensor([1, 2, 3, 3]), counts=torch.tensor([3, 1]))


def test_the_loss_is_that_of_all_ways_to_spell_the_texts():
    torch.manual_seed(0)
    objective, tokens = Spelling(torch.randn(3, 5), scale=3.0), torch.randn(2, 4, 5)
    logits, mask = objective.logits(Given(), tokens)
    losses = []
    for row, real, text in zip(logits, mask, ("abc", "c")):
        chances = row[real].softmax(-1)
        total = sum(
            torch.stack([chance[choice] for chance, choice in zip(chances, way)]).prod()
            for way in product(range(4), repeat=len(chances))
            if spelled(torch.eye(4)[list(way)], LETTERS) == text
        )
        losses.append(-torch.log(total))
    found = objective(Given(), batch(tokens))
    assert found["spelling"].item() == pytest.approx(sum(losses).item() / 4, abs=1e-5)


def test_tokens_that_are_letters_spell_them_and_others_are_silent():
    vectors = torch.eye(4)[:3]
    centre = vectors.mean(0)
    silent = centre + (vectors[0] - centre).norm() * torch.eye(4)[3]
    tokens = torch.stack([vectors[0], vectors[0], silent, vectors[1]])[None].repeat(2, 1, 1)
    objective = Spelling(vectors)
    logits, _ = objective.logits(Given(), tokens)
    assert spelled(logits[0], LETTERS) == "ab"
    assert spelled(logits[0, [0, 2, 0, 3]], LETTERS) == "aab"
    assert (logits[0, :, 0] == 20 * BLANK).all()
    assert objective(Given(), batch(tokens))["norm"].item() == pytest.approx(0.0, abs=1e-10)
