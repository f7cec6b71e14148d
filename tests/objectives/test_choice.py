"""The objective of choosing, against sums by hand."""

from types import SimpleNamespace

import pytest
import torch

from sensorium.data.choices import ChoiceBatch
from sensorium.data.tokens import TokenBatch
from sensorium.objectives.choice import Choice, likelihoods


class Fixed(torch.nn.Module):
    """A language model of three words that always holds them 0.5, 0.25 and 0.25."""

    def forward(self, batch):
        return SimpleNamespace(hidden=torch.zeros(*batch.ids.shape, 1))

    def logits(self, hidden):
        return torch.tensor([0.5, 0.25, 0.25]).log().expand(*hidden.shape[:-1], 3)


def batch(items, right, worth=None, prior=None):
    # Conversation 0 answers "0 0", 1 "0", 2 "1 2", 3 "1"; the last position is not asked for.
    targets = torch.tensor([[0, 0, 0, 1, 2, 1, -100]])
    owners = torch.tensor([[0, 0, 1, 2, 2, 3, -1]])
    plain = TokenBatch(
        ids=torch.zeros_like(targets),
        targets=targets,
        positions=None,
        attend=None,
        slots={},
        media={},
        names=("a", "b", "c", "d"),
        owners=owners,
    )
    worth, prior = (None if given is None else torch.tensor(given) for given in (worth, prior))
    return ChoiceBatch.of(plain, torch.tensor(items), torch.tensor(right), worth, prior)


def test_likelihoods_are_sums_over_an_answers_tokens():
    totals, counts = likelihoods(Fixed(), batch([0, 0, 1, 1], [True, False, False, True]))
    assert torch.allclose(totals.exp(), torch.tensor([0.25, 0.5, 0.0625, 0.25]))
    assert counts.tolist() == [2, 1, 2, 1]


def test_losses_by_hand():
    losses = Choice()(Fixed(), batch([0, 0, 1, 1], [True, False, False, True]))
    half, quarter = torch.tensor([0.5, 0.25]).log()
    assert torch.allclose(losses["next_token"], -(2 * half + quarter) / 3)
    # Item 0: 0.25 of 0.75; item 1: 0.25 of 0.3125.
    assert torch.allclose(losses["choice"], -(torch.tensor([1 / 3, 0.8]).log().mean()))


def test_a_prior_is_added_and_worth_is_shared_by_hand():
    worth, prior = [-1.0, 3.0, 1.0, 0.0], [9.0, 0.0, 0.0, 2.0]
    losses = Choice()(Fixed(), batch([0, 0, 0, 0], [True, False, False, False], worth, prior))
    logs = torch.tensor([0.5, 0.0625, 0.25]).log() + torch.tensor([0.0, 0.0, 2.0])
    chances = logs.log_softmax(0)
    assert torch.allclose(losses["choice"], -(0.75 * chances[0] + 0.25 * chances[1]))
    # Nothing of worth among the answers: no choice to learn.
    assert Choice()(Fixed(), batch([0] * 4, [True] + [False] * 3, [-1.0, 0.0, 0.0, 0.0]))["choice"] == 0


def test_items_with_one_answer_offer_no_choice():
    losses = Choice()(Fixed(), batch([0, 1, 2, 3], [True] * 4))
    assert losses["choice"] == 0


def test_moving_keeps_what_belongs_to_whom():
    moved = batch([0, 0, 1, 1], [True, False, False, True]).to("cpu")
    assert isinstance(moved, ChoiceBatch)
    assert moved.items.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("right", [[True, True, False, True], [False, False, False, True]])
def test_every_item_has_one_right_answer(right):
    with pytest.raises(ValueError, match="item 0 has"):
        batch([0, 0, 1, 1], right)
