"""The three masks of a Q-Former, written out: two queries, three words of which the last is padding in one row."""

import torch

from sensorium.layers.query_masks import bi_directional, multimodal_causal, uni_modal

WORDS = torch.tensor([[True, True, True], [True, True, False]])


def rows(text: str) -> list[list[bool]]:
    return [[mark == "1" for mark in line.replace(" ", "")] for line in text.split("/")]


def test_uni_modal():
    both = uni_modal(2, WORDS)
    assert both[0].tolist() == rows("11 000/11 000/00 111/00 111/00 111")
    assert both[1].tolist() == rows("11 000/11 000/00 110/00 110/00 110")


def test_bi_directional():
    both = bi_directional(2, WORDS)
    assert both[0].tolist() == rows("11 111/11 111/11 111/11 111/11 111")
    assert both[1].tolist() == rows("11 110/11 110/11 110/11 110/11 110")


def test_multimodal_causal():
    both = multimodal_causal(2, WORDS)
    assert both[0].tolist() == rows("11 000/11 000/11 100/11 110/11 111")
    assert both[1].tolist() == rows("11 000/11 000/11 100/11 110/11 110")


def test_masks_do_not_share_memory():
    one = uni_modal(1, WORDS)
    assert bi_directional(1, WORDS)[0].all()
    assert one[0, 0].tolist() == [True, False, False, False]
