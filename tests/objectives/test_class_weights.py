"""Weights of labels on counts whose answer is worked out by hand."""

import pytest
import torch

from sensorium.objectives.class_weights import class_weights, counts_of
from sensorium.objectives.supervised import Supervised
from sensorium.tasks import OneOf


def test_inverse_frequency_gives_every_label_the_same_sum():
    weights = class_weights([90, 10])
    torch.testing.assert_close(weights, torch.tensor([0.2, 1.8]))
    assert weights[0] * 90 == pytest.approx(weights[1].item() * 10)


def test_the_effective_number_is_the_paper_s():
    # beta 0.5: E(1) = 1, E(2) = 1.5, E(3) = 1.75; one over them, made to add up to 3
    inverse = torch.tensor([1.0, 1 / 1.5, 1 / 1.75])
    torch.testing.assert_close(class_weights([1, 2, 3], beta=0.5), 3 * inverse / inverse.sum())


def test_the_effective_number_runs_from_no_weighting_to_the_inverse_frequency():
    torch.testing.assert_close(class_weights([5, 50], beta=0.0), torch.ones(2))
    torch.testing.assert_close(
        class_weights([5, 50], beta=1 - 1e-9), class_weights([5, 50]), rtol=1e-5, atol=0
    )


def test_a_label_without_rows_weighs_nothing():
    torch.testing.assert_close(class_weights([3, 0, 3]), torch.tensor([1.0, 0.0, 1.0]))


def test_counts_leave_unknown_answers_out():
    task = OneOf("mood", ["glad", "sad", "calm"])
    assert counts_of(task, ["sad", None, "sad", "glad"]).tolist() == [1, 2, 0]


def test_weighted_losses_of_a_batch_are_the_weighted_mean():
    task = OneOf("mood", ["glad", "sad"])
    objective = Supervised([task], class_weights={"mood": class_weights([3, 1])})
    each, targets = torch.tensor([1.0, 1.0, 1.0, 5.0]), torch.tensor([0, 0, 0, 1])
    # Every label's mean loss counts the same: (1 + 5) / 2
    assert objective._mean(task, each, targets).item() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("counts", "beta", "said"),
    [([0, 0], None, "some above 0"), ([3, -1], None, "some above 0"), ([1, 2], 1.0, "0 to below 1")],
)
def test_what_cannot_be_weighed_is_refused(counts, beta, said):
    with pytest.raises(ValueError, match=said):
        class_weights(counts, beta)
