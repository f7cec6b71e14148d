import numpy as np
import pytest
import torch

from sensorium.data.puzzles import puzzle
from sensorium.data.scenes.scene import GROUNDS
from sensorium.tasks import iou

ROWS = 120


@pytest.fixture(scope="module")
def samples():
    return puzzle("boxes").samples("test", ROWS)


def test_the_box_is_that_of_the_thing_named(samples):
    for sample in samples:
        assert sample.fields["box"] in sample.fields["hidden"]["image"]
        assert sample.fields["thing"] in sample.columns["text"]


def test_the_pixels_of_a_thing_lie_in_one_of_the_boxes(samples):
    grounds = {colour for colour, _ in GROUNDS.values()}
    for sample in samples[:12]:
        picture = sample.columns["image"]
        assert picture.shape == (160, 160, 3)
        drawn = np.ones((160, 160), bool)
        for cx, cy, w, h in sample.fields["hidden"]["image"]:
            x0, y0 = round(160 * (cx - w / 2)), round(160 * (cy - h / 2))
            inside = picture[y0 : y0 + round(160 * h), x0 : x0 + round(160 * w)]
            assert len(np.unique(inside.reshape(-1, 3), axis=0)) > 3
            drawn[y0 : y0 + round(160 * h), x0 : x0 + round(160 * w)] = False
        [ground] = np.unique(picture[drawn], axis=0)
        assert tuple(int(part) for part in ground) in grounds


def test_one_who_looks_only_boxes_one_of_several(samples):
    stated = puzzle("boxes").alone["image"]
    guessed = [1 / len(sample.fields["hidden"]["image"]) for sample in samples]
    assert np.mean(guessed) == pytest.approx(stated)
    random = np.random.default_rng(0)
    for sample in samples[:20]:
        shown = torch.tensor(sample.fields["hidden"]["image"])
        assert (iou(shown[:, None], shown[None]) - torch.eye(len(shown))).abs().max() < 1e-5
        anywhere = torch.tensor(random.uniform(0.1, 0.9, (200, 4)), dtype=torch.float32)
        assert iou(anywhere[:, None], shown[None]).sum(1).max() <= 1


def test_one_who_reads_only_gets_what_is_stated(samples):
    truth = torch.tensor([sample.fields["box"] for sample in samples])
    shapes = torch.tensor([sample.fields["hidden"]["text"] for sample in samples])
    middle = torch.full((ROWS, 2), 0.5)
    best = max(
        float(iou(torch.cat([middle, shapes * size], 1), truth).mean()) for size in np.arange(0.2, 1.0, 0.05)
    )
    assert best == pytest.approx(puzzle("boxes").alone["text"], abs=0.03)
