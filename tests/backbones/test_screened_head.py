"""ScreenedHead finds what argmax over all exact logits finds, or says that it cannot."""

import pytest
import torch

from sensorium.backbones import screened_head
from sensorium.backbones.screened_head import ScreenedHead

D = 96


def near_ties() -> torch.Tensor:
    """Rows that differ from each other by a twentieth of an 8-bit level."""
    row = torch.randn(D)
    return row + row.abs().max() / 127 / 20 * torch.randn(400, D)


def of_unlike_lengths() -> torch.Tensor:
    return torch.randn(700, D) * torch.logspace(-3, 3, 700)[torch.randperm(700), None]


def spoiled_scales() -> torch.Tensor:
    """One large number a row takes most of the levels from the others."""
    weight = torch.randn(700, D)
    weight[torch.arange(700), torch.randint(0, D, (700,))] = 60.0
    return weight


WEIGHTS = {
    "random": lambda: torch.randn(700, D),
    "near ties": near_ties,
    "unlike lengths": of_unlike_lengths,
    "spoiled scales": spoiled_scales,
    "a row of zeros": lambda: torch.cat([torch.zeros(1, D), -torch.rand(50, D)]),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_token_is_that_of_all_logits(name):
    torch.manual_seed(0)
    weight = WEIGHTS[name]()
    screen, found = ScreenedHead(weight), 0
    hidden = torch.randn(60, D).abs() if name == "a row of zeros" else torch.randn(60, D)
    hidden[::3, 5] = 40.0  # states of language models have such channels
    for one in hidden.split(1):
        said = screen(one)
        assert said is not None
        logits = (weight.double() @ one[0].double()).float()
        assert logits[said] == logits.max()
        rough = torch._weight_int8pack_mm(one.bfloat16(), screen.levels, screen.scale)
        found += rough.argmax() != logits.argmax()
    if name == "near ties":
        assert found > 20  # 8 bits alone would take another


def test_of_equal_rows_the_first_is_taken():
    torch.manual_seed(0)
    weight = torch.randn(40, D)
    weight[[7, 19, 30]] = 3 * weight[7]
    assert ScreenedHead(weight)(weight[19:20]).tolist() == [7]


def test_where_too_many_could_be_the_first_it_says_so(monkeypatch):
    monkeypatch.setattr(screened_head, "MOST", 30)
    screen = ScreenedHead(torch.ones(31, D))
    assert screen(torch.ones(1, D)) is None
    assert ScreenedHead(torch.ones(30, D))(torch.ones(1, D)).tolist() == [0]
    assert screen(torch.full((1, D), torch.nan)) is None
