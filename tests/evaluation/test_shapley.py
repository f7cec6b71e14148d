"""Games whose Shapley values are known, and scores over rows and repeats."""

import numpy as np
import pytest

from sensorium.evaluation.generated import Measured
from sensorium.evaluation.repeats import draws, estimate
from sensorium.evaluation.shapley import exact, shapley, subsets


def test_an_additive_game_gives_each_player_its_own() -> None:
    own = {"text": 3.0, "audio": -1.0, "image": 0.5}
    assert exact({some: 7 + sum(own[p] for p in some) for some in subsets(list(own))}) == pytest.approx(own)


def test_the_glove_game() -> None:
    """One right glove, two left ones: a pair is worth 1. The right one gets 2/3, the left ones 1/6 each."""
    worth = {some: float("right" in some and len(some) > 1) for some in subsets(["right", "left", "other"])}
    assert exact(worth) == pytest.approx({"right": 2 / 3, "left": 1 / 6, "other": 1 / 6})


def test_exclusive_or_is_shared_by_both_and_a_third_gets_nothing() -> None:
    worth = {some: 1.0 if {"a", "b"} <= some else 0.5 for some in subsets(["a", "b", "idle"])}
    assert exact(worth) == pytest.approx({"a": 0.25, "b": 0.25, "idle": 0.0})


def test_values_sum_to_all_less_none_and_do_not_depend_on_names() -> None:
    rng = np.random.default_rng(0)
    worth = {some: float(rng.random()) for some in subsets(list("pqrst"))}
    values = exact(worth)
    assert sum(values.values()) == pytest.approx(worth[frozenset("pqrst")] - worth[frozenset()])
    rename = dict(zip("pqrst", "tpsrq"))
    again = exact({frozenset(rename[p] for p in some): value for some, value in worth.items()})
    assert {rename[p]: value for p, value in values.items()} == pytest.approx(again)


def hits(n: int = 200, seed: int = 0) -> dict[frozenset[str], Measured]:
    """Text is right on the first half of the rows, audio on the first quarter, both on three quarters."""
    rows = np.arange(n) + seed  # seeds differ by a row at the border
    right = {"": 0 * rows, "text": rows < n / 2, "audio": rows < n / 4, "both": rows < 3 * n / 4}
    names = {"": (), "text": ("text",), "audio": ("audio",), "both": ("text", "audio")}
    return {frozenset(names[name]): Measured(hit.astype(float)) for name, hit in right.items()}


def test_of_scores_with_intervals_over_the_same_draws() -> None:
    found = shapley(hits())
    assert found["text"].value == pytest.approx((0.5 + 0.5) / 2)
    assert found["audio"].value == pytest.approx((0.25 + 0.25) / 2)
    assert found["text"].low < 0.5 < found["text"].high
    # Half of 1 of 200 rows: the sum's interval is that of a share of 3/4, two standard errors of 3 % to each side
    spread = found["text"].high - found["text"].low
    assert spread == pytest.approx(2 * 1.96 * np.sqrt(0.25 * (0.5 + 1) / 2 / 200), rel=0.5)
    grouped = shapley(hits(), groups=np.arange(200) // 10)
    assert grouped["text"].value == found["text"].value
    assert grouped["text"].high - grouped["text"].low > 1.5 * spread


def test_where_less_is_better_what_helps_is_still_positive() -> None:
    flipped = {some: Measured(1 - one.values, unit="error") for some, one in hits().items()}
    assert shapley(flipped)["text"].value == pytest.approx(shapley(hits())["text"].value)


def test_repeats_are_averaged() -> None:
    one, other = hits(), hits(seed=20)
    found = shapley({some: [one[some], other[some]] for some in one})
    alone = [shapley(run)["text"].value for run in (one, other)]
    assert found["text"].value == pytest.approx(np.mean(alone))


def test_what_is_missing_or_too_much_is_said() -> None:
    whole = hits()
    with pytest.raises(ValueError, match="no score of the columns audio"):
        shapley({some: one for some, one in whole.items() if some != {"audio"}})
    with pytest.raises(ValueError, match="no score of no column at all"):
        shapley({some: one for some, one in whole.items() if some})
    with pytest.raises(ValueError, match="2 to 6 different ones"):
        subsets(list("abcdefg"))
    with pytest.raises(ValueError, match="2 to 6 different ones"):
        subsets(["alone"])
    with pytest.raises(ValueError, match="the same rows"):
        shapley({**whole, frozenset(): Measured(np.zeros(3))})


def test_an_estimate_widens_with_the_seeds_and_not_with_what_both_share() -> None:
    rng = np.random.default_rng(1)
    base = (rng.random(400) < 0.6).astype(float)
    better, worse = base.copy(), base.copy()
    better[np.flatnonzero(base == 0)[:40]] = 1
    worse[np.flatnonzero(base == 1)[:40]] = 0
    steady = estimate([Measured(base)] * 3)
    uneven = estimate([Measured(base), Measured(better), Measured(worse)])
    assert uneven.value == pytest.approx(steady.value)
    assert uneven.high - uneven.low > 1.5 * (steady.high - steady.low)
    gain = estimate([Measured(better)] * 3, less=[Measured(base)] * 3)
    assert gain.value == pytest.approx(0.1)
    assert gain.low > 0.07  # the rows' own difficulty cancels out


def test_draws_are_the_same_again_and_keep_groups_whole() -> None:
    first, second = ([*draws(12, 3, np.arange(12) // 3, 5, seed=4)] for _ in range(2))
    for (rows, repeats), (again, repeats_again) in zip(first, second):
        assert (rows == again).all()
        assert (repeats == repeats_again).all()
        counts = np.bincount(rows, minlength=12).reshape(4, 3)
        assert (counts == counts[:, :1]).all()
        assert len(repeats) == 3
