"""What a language model holds answers likely to be, against products by hand."""

from types import SimpleNamespace

import torch

from sensorium.data.tokens import TokenBatch
from sensorium.objectives.next_token import likelihoods


class Fixed(torch.nn.Module):
    """A language model of three words that always holds them 0.5, 0.25 and 0.25."""

    def forward(self, batch):
        return SimpleNamespace(hidden=torch.zeros(*batch.ids.shape, 1))

    def logits(self, hidden):
        return torch.tensor([0.5, 0.25, 0.25]).log().expand(*hidden.shape[:-1], 3)


def batch() -> TokenBatch:
    """Conversation 0 answers "0 0", 1 "0", 2 "1 2", 3 "1"; the last position is not asked for."""
    targets = torch.tensor([[0, 0, 0, 1, 2, 1, -100]])
    owners = torch.tensor([[0, 0, 1, 2, 2, 3, -1]])
    return TokenBatch(
        ids=torch.zeros_like(targets),
        targets=targets,
        positions=None,
        attend=None,
        slots={},
        media={},
        names=("a", "b", "c", "d"),
        owners=owners,
    )


def test_likelihoods_are_sums_over_an_answers_tokens():
    totals, counts = likelihoods(Fixed(), batch())
    assert torch.allclose(totals.exp(), torch.tensor([0.25, 0.5, 0.0625, 0.25]))
    assert counts.tolist() == [2, 1, 2, 1]
