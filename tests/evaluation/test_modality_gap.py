import numpy as np
import pytest

from sensorium.evaluation.modality_gap import modality_gap, modality_gaps
from sensorium.evaluation.retrieval import Embedded, unit


def test_two_opposite_cones_have_the_largest_gap() -> None:
    ids = np.arange(20)
    gap = modality_gap(
        Embedded(np.tile([1.0, 0.0], (20, 1)), ids), Embedded(np.tile([-2.0, 0.0], (20, 1)), ids)
    )
    assert gap.distance == pytest.approx(2.0)
    assert gap.separability == 1.0
    assert (gap.matched, gap.unmatched) == (pytest.approx(-1.0), pytest.approx(-1.0))


def test_a_shared_space_has_no_gap_and_its_pairs_stand_out() -> None:
    rng = np.random.default_rng(0)
    vectors, ids = rng.normal(size=(400, 16)), np.arange(400)
    gap = modality_gap(Embedded(vectors, ids), Embedded(vectors + 0.1 * rng.normal(size=(400, 16)), ids))
    assert gap.distance < 0.05 < gap.blind
    assert 0.3 < gap.separability < 0.55  # a near twin in the other column can only mislead the classifier
    assert gap.matched > 0.97
    assert abs(gap.unmatched) < 0.02


def test_a_known_offset_is_measured() -> None:
    rng = np.random.default_rng(0)
    base = np.concatenate([unit(rng.normal(size=(300, 8))), np.zeros((300, 1))], 1)
    shifted = unit(base + np.eye(9)[8])  # 45 degrees out of the first column's hyperplane
    gap = modality_gap(Embedded(base, np.arange(300)), Embedded(shifted, np.arange(300)))
    mean = base.mean(0)
    expected = np.linalg.norm(mean - (mean / 2**0.5 + np.eye(9)[8] / 2**0.5))
    assert gap.distance == pytest.approx(expected, abs=1e-5)
    assert gap.matched == pytest.approx(0.5**0.5, abs=1e-5)


def test_every_pair_that_shares_meanings_is_measured_and_no_other() -> None:
    vectors = np.random.default_rng(0).normal(size=(10, 4))
    columns = {name: Embedded(vectors, np.arange(10)) for name in ("text", "image")}
    columns["effect"] = Embedded(vectors, np.arange(100, 110))
    assert list(modality_gaps(columns)) == ["text_image"]
    with pytest.raises(ValueError, match="share no meaning"):
        modality_gap(columns["text"], columns["effect"])
