"""Next tokens where there are targets, and the naming of cells by words."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from sensorium.features import Features
from sensorium.objectives.grid_naming import GridNaming, word_vectors
from sensorium.objectives.next_token import NextToken


class Counting(torch.nn.Module):
    """States as given; counts the positions that reach the head."""

    def __init__(self, hidden):
        super().__init__()
        self.hidden, self.head, self.rows = hidden, torch.nn.Linear(hidden.shape[-1], 7), 0

    def forward(self, batch):
        return SimpleNamespace(hidden=self.hidden)

    def logits(self, hidden):
        assert hidden.is_contiguous()
        self.rows += len(hidden)
        return self.head(hidden)


def test_only_positions_with_a_target_count_and_reach_the_head():
    model = Counting(torch.randn(2, 5, 3))
    targets = torch.full((2, 5), -100)
    targets[0, 1], targets[1, 4] = 6, 2
    loss = NextToken()(model, SimpleNamespace(targets=targets))["next_token"]
    by_hand = -(
        model.head(model.hidden[0, 1]).log_softmax(-1)[6] + model.head(model.hidden[1, 4]).log_softmax(-1)[2]
    )
    assert model.rows == 2
    torch.testing.assert_close(loss, by_hand / 2)


@dataclass
class Fixed:
    tokens: torch.Tensor

    def features(self, name, inputs):
        mask = torch.ones(self.tokens.shape[:2], dtype=torch.bool)
        return Features(self.tokens, mask, self.tokens.mean(1))


@pytest.fixture
def words():
    return torch.randn(5, 8) + 3  # far from the centre, as embeddings are


def test_tokens_on_their_words_are_named_right_at_no_loss(words):
    objective = GridNaming(words, rest=3, scale=200.0)
    cells = torch.tensor([[0, 4, 2, 3]])
    length = (words - words.mean(0)).norm(dim=-1).mean()
    directions = F.normalize(words - words.mean(0), dim=-1)
    losses = objective(
        Fixed(words.mean(0) + length * directions[cells]), SimpleNamespace(inputs=None, cells=cells)
    )
    assert losses["naming"] < 1e-3
    assert losses["norm"] < 1e-6
    said = objective.logits(Fixed(words[cells]), None).argmax(-1)
    assert said.tolist() == cells.tolist()


def test_the_naming_loss_is_the_formula(words):
    objective, tokens = GridNaming(words, rest=3, scale=2.0, rest_weight=0.5), torch.randn(1, 3, 8)
    cells = torch.tensor([[1, 3, 4]])
    logits = 2 * F.cosine_similarity(
        (tokens - words.mean(0))[0][:, None], (words - words.mean(0))[None], dim=-1
    )
    each = -logits.log_softmax(-1)[range(3), cells[0]]
    naming = objective(Fixed(tokens), SimpleNamespace(inputs=None, cells=cells))["naming"]
    torch.testing.assert_close(naming, each[0] + 0.5 * (each[1] + each[2]) / 2)


def test_a_scene_without_things_has_a_loss_too(words):
    cells = torch.tensor([[3, 4]])
    losses = GridNaming(words, rest=3)(Fixed(torch.randn(1, 2, 8)), SimpleNamespace(inputs=None, cells=cells))
    assert torch.isfinite(losses["naming"])


def test_a_word_of_several_tokens_is_their_mean():
    table = torch.randn(10, 4)
    pieces = {" red fish": [2, 5], " dog": [7]}
    backbone = SimpleNamespace(
        tokenizer=lambda text, add_special_tokens: {"input_ids": pieces[text]}, embed=lambda ids: table[ids]
    )
    made = word_vectors(backbone, ["red fish", "dog"])
    torch.testing.assert_close(made, torch.stack([(table[2] + table[5]) / 2, table[7]]))
