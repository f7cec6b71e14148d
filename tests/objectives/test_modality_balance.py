"""The column that is ahead is slowed down by the factor of the paper, the others not at all."""

import math

import pytest
import torch
from small_fusion import MOOD, STRENGTH, batch, network

from sensorium.objectives.modality_balance import SlowedColumns
from sensorium.objectives.supervised import Supervised

LABELS = ["glad", "sad", "calm", "glad"]


def gradients(terms: list) -> tuple[dict, dict]:
    """By column, the gradient of its vectors; and what each column alone gives to the right label."""
    model, rows = network().eval(), batch(4, mood=LABELS)
    for column in rows.columns.values():
        column.inputs.pooled.requires_grad_()
    sum(Supervised([MOOD], terms)(model, rows).values()).backward()
    places = torch.tensor([MOOD.place[label] for label in LABELS])
    right = {
        name: model(rows, without=[other]).outputs["mood"].softmax(-1)[torch.arange(4), places].mean().item()
        for name, other in (("image", "text"), ("text", "image"))
    }
    return {name: column.inputs.pooled.grad for name, column in rows.columns.items()}, right


def test_the_leading_column_is_slowed_by_the_paper_s_factor():
    plain, right = gradients([])
    slowed, _ = gradients([SlowedColumns(MOOD, alpha=0.3)])
    ahead, behind = sorted(right, key=lambda name: -right[name])
    assert right[ahead] > right[behind]
    factor = 1 - math.tanh(0.3 * right[ahead] / right[behind])
    torch.testing.assert_close(slowed[ahead], factor * plain[ahead])
    torch.testing.assert_close(slowed[behind], plain[behind])


def test_rows_without_the_column_do_not_count_for_it():
    model = network().eval()
    rows = batch(4, {"text": [True, True, False, False]}, mood=LABELS)
    term = SlowedColumns(MOOD)
    found = term.factors(model, model(rows), rows)
    assert sorted(found.values())[-1] == 1.0
    assert sorted(found.values())[0] < 1.0
    alone = batch(4, {"text": [False] * 4}, mood=LABELS)
    assert term.factors(model, model(alone), alone) == {"image": 1.0}
    unknown = batch(4)
    assert term.factors(model, model(unknown), unknown) == {}


def test_numbers_have_no_right_label():
    with pytest.raises(ValueError, match="expected one_of"):
        SlowedColumns(STRENGTH)
