"""Disagreement between columns: numbers worked out by hand, and two routes to one value."""

import math

import pytest
import torch
from small_fusion import MOOD, STRENGTH, Fixed, batch, network

from sensorium.objectives.consistency import Consistency, divergence
from sensorium.objectives.supervised import Supervised
from sensorium.tasks import AnyOf, Box, OneOf

COIN = OneOf("coin", ["heads", "tails"])
BOTH = {"image": torch.tensor([True]), "text": torch.tensor([True])}


def branches(task, one: list, other: list, present: dict = BOTH) -> Fixed:
    return Fixed({task.name: {"image": torch.tensor([one]), "text": torch.tensor([other])}}, present)


def test_jensen_shannon_by_hand():
    # p = (¾, ¼), q = (¼, ¾), mean (½, ½): log 2 − H(¾, ¼)
    output = branches(COIN, [math.log(3), 0.0], [0.0, math.log(3)])
    expected = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    found = Consistency([COIN])(None, output, None)
    assert found == {"consistency/coin": pytest.approx(expected, rel=1e-6)}


def test_symmetric_divergence_by_hand():
    # KL(p | q) = ¾ log 3 − ¼ log 3 = ½ log 3, both ways
    output = branches(COIN, [math.log(3), 0.0], [0.0, math.log(3)])
    found = Consistency([COIN], how="kl")(None, output, None)
    assert found["consistency/coin"].item() == pytest.approx(0.5 * math.log(3), rel=1e-6)


def test_certain_opposites_are_log_two_apart_and_have_a_gradient():
    output = branches(COIN, [300.0, -300.0], [-300.0, 300.0])
    image = output.parts["coin"]["image"].requires_grad_()
    loss = Consistency([COIN])(None, output, None)["consistency/coin"]
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6)
    loss.backward()
    assert image.grad.isfinite().all()


def test_three_views_the_other_way_round():
    log_p = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    here = torch.ones(5, 3, dtype=torch.bool)
    p, mean = log_p.exp(), log_p.exp().mean(1, keepdim=True)
    js = (p * (log_p - mean.log())).sum(-1).mean(1)  # the mean distance from the mean
    torch.testing.assert_close(divergence(log_p, here), js)
    pairs = [(p[:, v] * (log_p[:, v] - log_p[:, w])).sum(-1) for v in range(3) for w in range(3) if v != w]
    torch.testing.assert_close(divergence(log_p, here, "kl"), torch.stack(pairs).mean(0))


def test_an_absent_view_does_not_count():
    log_p = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    two = torch.tensor([[True, False, True]])
    for how in ("js", "kl"):
        whole = divergence(log_p[:, [0, 2]], torch.ones(1, 2, dtype=torch.bool), how)
        torch.testing.assert_close(divergence(log_p, two, how), whole)


def test_numbers_and_boxes_by_hand():
    output = branches(STRENGTH, [3.0], [1.0])
    assert Consistency([STRENGTH])(None, output, None)["consistency/strength"].item() == pytest.approx(1.0)
    box = Box("place")
    output = branches(box, [0.0, 0.0, 0.0, 0.0], [math.log(3)] * 4)  # ½ and ¾ of the picture: 4 · (⅛)²
    assert Consistency([box])(None, output, None)["consistency/place"].item() == pytest.approx(4 / 64)


def test_every_label_of_any_is_a_coin():
    things = AnyOf("things", ["cat", "dog"])
    output = branches(things, [math.log(3), 5.0], [-math.log(3), 5.0])
    coin = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    found = Consistency([things])(None, output, None)["consistency/things"]
    assert found.item() == pytest.approx(coin / 2, rel=1e-5)


def test_rows_with_one_view_are_left_out():
    one = {"image": torch.tensor([True]), "text": torch.tensor([False])}
    assert Consistency([COIN])(None, branches(COIN, [1.0, 0.0], [0.0, 1.0], one), None) == {}


def test_columns_of_a_joining_fusion_are_hidden_in_turn():
    model = network("concatenation", (MOOD, STRENGTH)).eval()
    rows = batch(3, {"text": [True, True, False]})
    output = model(rows)
    views, here = Consistency(model.tasks).views(model, output)
    for place, (name, other) in enumerate([("image", "text"), ("text", "image")]):
        alone = model(rows, without=[other])
        torch.testing.assert_close(
            views["mood"][here[:, place], place], alone.outputs["mood"][here[:, place]]
        )
        assert here[:, place].tolist() == rows.columns[name].present.tolist()
    found = Consistency([MOOD])(model, output, rows)["consistency/mood"]
    expected = divergence(views["mood"][:2].log_softmax(-1), here[:2]).mean()
    torch.testing.assert_close(found, expected)


def test_branches_of_a_late_fusion_are_its_parts():
    model = network("average").eval()
    rows = batch(3)
    views, here = Consistency([MOOD]).views(model, model(rows))
    torch.testing.assert_close(views["mood"][:, 1], model(rows).parts["mood"]["text"])
    assert here.all()


def test_it_is_a_term_of_the_objective():
    model = network()
    losses = Supervised([MOOD], terms=[Consistency([MOOD])])(model, batch(4, mood=["glad", None, None, None]))
    assert sorted(losses) == ["consistency/mood", "mood"]


def test_another_way_is_refused():
    with pytest.raises(ValueError, match="expected js or kl"):
        Consistency([MOOD], how="l2")
