"""Late fusion against closed forms by hand."""

import math

import pytest
import torch
from three_columns import NAMES, TASKS

from sensorium.fusion import Average, Learned, Product
from sensorium.tasks import AnyOf, Box, Number, OneOf

ONE, ANY, NUMBER, BOX = TASKS
ALL = torch.ones(1, 3, dtype=torch.bool)


def log(*rows: list[float]) -> torch.Tensor:
    """Log-probabilities of K columns of one row, float[1, K, C]; heads may add any number to them."""
    return torch.tensor([list(rows)]).log() + torch.tensor([[[3.0], [-2.0], [0.5]]])[:, : len(rows)]


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_the_average_of_probabilities_weighs_the_columns_present():
    outputs = log([0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6])
    fusion = Average(NAMES, 4, weights={"image": 2, "text": 1, "audio": 1})
    found = fusion.combine(outputs, ALL, ONE)
    torch.testing.assert_close(found.exp(), torch.tensor([[0.325, 0.4, 0.275]]))
    torch.testing.assert_close(ONE.probabilities(found), found.exp())
    present = torch.tensor([[True, False, True]])
    found = fusion.combine(outputs, present, ONE)
    torch.testing.assert_close(found.exp(), torch.tensor([[0.4, 0.8 / 3, 1 / 3]]))
    torch.testing.assert_close(fusion.gates(present), torch.tensor([[2 / 3, 0, 1 / 3]]))
    nobody = fusion.combine(outputs, ~ALL, ONE)
    torch.testing.assert_close(nobody.exp(), torch.full((1, 3), 1 / 3))


def test_averages_of_labels_boxes_and_numbers():
    fusion = Average(("image", "text"), 4)
    both = torch.ones(1, 2, dtype=torch.bool)
    shares = [[0.9, 0.2, 0.5, 0.1], [0.5, 0.4, 0.7, 0.1]]
    outputs = torch.tensor([[[logit(p) for p in row] for row in shares]])
    mean = torch.tensor([[0.7, 0.3, 0.6, 0.1]])
    torch.testing.assert_close(ANY.probabilities(fusion.combine(outputs, both, ANY)), mean)
    torch.testing.assert_close(torch.tensor(BOX.answers(fusion.combine(outputs, both, BOX))), mean)
    numbers = torch.tensor([[[2.0], [5.0]]])
    assert fusion.combine(numbers, both, NUMBER).item() == pytest.approx(3.5)
    assert fusion.combine(numbers, torch.tensor([[False, True]]), NUMBER).item() == pytest.approx(5.0)


def test_an_average_stays_exact_where_probabilities_leave_float32():
    fusion, both = Average(("image", "text"), 4), torch.ones(1, 2, dtype=torch.bool)
    outputs = torch.tensor([[[200.0, -200.0], [200.0, -200.0]]])
    torch.testing.assert_close(fusion.combine(outputs, both, AnyOf("x", "ab")), outputs[:, 0])
    found = fusion.combine(outputs, both, OneOf("x", "ab"))
    torch.testing.assert_close(found, torch.tensor([[0.0, -400.0]]))


def test_learned_weights_are_a_softmax_over_the_columns_present():
    fusion = Learned(NAMES, 4)
    with torch.no_grad():
        fusion.log_weights.copy_(torch.tensor([3.0, 1.0, 1.0]).log())
    present = torch.tensor([[True, True, False]])
    torch.testing.assert_close(fusion.gates(present), torch.tensor([[0.75, 0.25, 0.0]]))
    found = fusion.combine(log([0.6, 0.4], [0.2, 0.8], [0.9, 0.1]), present, OneOf("x", "ab"))
    torch.testing.assert_close(found.exp(), torch.tensor([[0.5, 0.5]]))


def test_learning_gives_weight_to_the_column_that_knows():
    torch.manual_seed(0)
    fusion, task, targets = Learned(("good", "bad"), 4), OneOf("x", "ab"), torch.arange(64) % 2
    good = torch.nn.functional.one_hot(targets, 2) * 3.0
    outputs = torch.stack([good, torch.randn(64, 2)], 1)
    optimizer = torch.optim.SGD([fusion.log_weights], 1.0)
    for _ in range(20):
        loss = task.loss(fusion.combine(outputs, torch.ones(64, 2, dtype=torch.bool), task), targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert fusion.log_weights[0] - fusion.log_weights[1] > 1


def test_the_product_of_experts_is_naive_bayes():
    """Two signs, independent given the answer: Bayes' rule on both, and the product of what each says alone."""
    prior = torch.tensor([0.7, 0.2, 0.1])
    image = torch.tensor([0.1, 0.5, 0.3])  # p(sign seen | answer)
    text = torch.tensor([0.6, 0.2, 0.9])
    exact = prior * image * text / (prior * image * text).sum()
    alone = [(prior * sign / (prior * sign).sum()).tolist() for sign in (image, text)]
    fusion = Product(("image", "text"), 4, priors={"one": prior.tolist()})
    found = fusion.combine(log(*alone), torch.ones(1, 2, dtype=torch.bool), ONE)
    torch.testing.assert_close(found.exp()[0], exact)
    one = fusion.combine(log(*alone), torch.tensor([[True, False]]), ONE)
    torch.testing.assert_close(one.exp()[0], torch.tensor(alone[0]))
    nobody = fusion.combine(log(*alone), torch.zeros(1, 2, dtype=torch.bool), ONE)
    torch.testing.assert_close(nobody.exp()[0], prior)


def test_the_product_without_a_prior_by_hand():
    found = Product(NAMES, 4).combine(log([0.5, 0.5], [0.8, 0.2], [0.4, 0.6]), ALL, OneOf("x", "ab"))
    torch.testing.assert_close(found.exp(), torch.tensor([[0.16 / 0.22, 0.06 / 0.22]]))


def test_the_product_of_each_label_and_the_mean_of_numbers():
    priors = {"any": [0.1, 0.5, 0.3, 0.2]}
    fusion, both = Product(("image", "text"), 4, priors=priors), torch.ones(1, 2, dtype=torch.bool)
    shares = torch.tensor([[[0.3, 0.9, 0.3, 0.2], [0.4, 0.8, 0.3, 0.1]]])
    yes = shares.prod(1) / torch.tensor(priors["any"])
    no = (1 - shares).prod(1) / (1 - torch.tensor(priors["any"]))
    found = fusion.combine(shares.logit(), both, ANY)
    torch.testing.assert_close(ANY.probabilities(found), yes / (yes + no))
    assert fusion.combine(torch.tensor([[[2.0], [5.0]]]), both, Number("n")).item() == pytest.approx(3.5)
    boxes = fusion.combine(shares.logit(), both, Box("b")).sigmoid()
    torch.testing.assert_close(boxes, shares.mean(1))


def test_weights_and_priors_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"weights: got .*expected a number above 0 for each of image, text"):
        Average(NAMES, 4, weights={"image": 1.0})
    with pytest.raises(ValueError, match="expected a number above 0"):
        Average(("image",), 4, weights={"image": 0.0})
    with pytest.raises(ValueError, match=r"priors of 'one': got .*between 0 and 1"):
        Product(NAMES, 4, priors={"one": [1.0, 0.0, 0.0]})
    with pytest.raises(ValueError, match="got 2; expected 3, one for each"):
        Product(NAMES, 4, priors={"one": [0.5, 0.5]}).combine(torch.zeros(1, 3, 3), ALL, ONE)
