"""The three losses of BLIP-2's stage 1 against sums by hand."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from sensorium.objectives.qformer_stage1 import QFormerStage1, following

IDS = torch.tensor([[9, 4, 5, 2], [9, 6, 2, 0], [9, 7, 2, 0]])
WORDS = IDS > 0


class Model:
    """Vectors as given; a pair's match logit tells which text stood beside which picture."""

    def __init__(self):
        torch.manual_seed(0)
        self.asked = []
        self.states = SimpleNamespace(
            media=None,
            ids=IDS,
            words=WORDS,
            image=F.normalize(torch.randn(3, 2, 4), dim=-1),
            text=F.normalize(torch.randn(3, 4), dim=-1),
            written=torch.randn(3, 4, 5),
            scale=torch.tensor(3.0),
            rows=torch.tensor([0, 2, 3]),
        )
        self.table = torch.randn(10, 5)

    def __call__(self, batch):
        return self.states

    @staticmethod
    def similarity(image, text):
        return torch.einsum("iqd,jd->iqj", image, text).amax(1)

    def match(self, media, ids, words, of):
        texts = [(row == IDS).all(1).nonzero().item() for row in ids]
        self.asked = list(zip(of.tolist(), texts))
        right = torch.tensor([float(o == t) for o, t in self.asked])
        return torch.stack([torch.zeros_like(right), 2 * right - 1], 1)

    def word_logits(self, written):
        return written @ self.table.T


def losses(meanings, smoothing=0.0):
    model = Model()
    batch = SimpleNamespace(meanings=torch.tensor(meanings))
    return model, QFormerStage1(smoothing)(model, batch)


def test_contrast_takes_the_best_query_and_is_cross_entropy_both_ways():
    model, found = losses([[1], [99], [2], [3]], 0.1)  # row 1 of the batch is no pair
    s = model.states
    logits = torch.tensor(
        [[3 * max(float(s.image[i, q] @ s.text[j]) for q in range(2)) for j in range(3)] for i in range(3)]
    )
    own = torch.arange(3)
    both = [F.cross_entropy(one, own, label_smoothing=0.1) for one in (logits, logits.T)]
    torch.testing.assert_close(found["contrast"], sum(both) / 2)


def test_matching_asks_every_pair_and_a_wrong_partner_for_each_side():
    model, found = losses([[1], [99], [1], [3]])  # pairs 0 and 1 mean the same: never wrong for each other
    assert model.asked[:3] == [(0, 0), (1, 1), (2, 2)]
    wrong = model.asked[3:]
    assert len(wrong) == 6
    assert wrong[:2] == [(0, 2), (1, 2)]  # their pictures with the one text of another meaning
    assert wrong[3:5] == [(2, 0), (2, 1)]  # their texts with its picture
    assert not {(0, 1), (1, 0)} & set(wrong)
    expected = (3 * F.softplus(torch.tensor(-1.0)) + 6 * F.softplus(torch.tensor(-1.0))) / 9
    torch.testing.assert_close(found["matching"], expected)


def test_writing_is_the_mean_over_real_words_after_the_first():
    model, found = losses([[1], [99], [2], [3]])
    logits = model.states.written @ model.table.T
    asked = [(0, 0, 4), (0, 1, 5), (0, 2, 2), (1, 0, 6), (1, 1, 2), (2, 0, 7), (2, 1, 2)]
    by_hand = [-logits[row, place].log_softmax(0)[word] for row, place, word in asked]
    torch.testing.assert_close(found["writing"], sum(by_hand) / len(by_hand))
    assert following(IDS, WORDS)[1].tolist() == [6, 2, -100, -100]


def test_a_batch_of_one_meaning_has_no_wrong_partners():
    model, found = losses([[1], [1], [1], [1]])
    assert len(model.asked) == 3
    assert found["contrast"] == 0


def test_smoothing_is_checked():
    with pytest.raises(ValueError, match="label_smoothing 1"):
        QFormerStage1(1.0)
