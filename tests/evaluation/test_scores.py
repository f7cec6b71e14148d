import io
import json

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import binomtest

from sensorium.evaluation import Score, scores

ONE = Score(0.51, 0.48, 0.54, 0.001, 1382, 0.0007)


@pytest.mark.parametrize(("hits", "n"), [(51, 100), (8, 171), (700, 1382)])
def test_interval_of_a_proportion_agrees_with_the_binomial_one(hits: int, n: int) -> None:
    values = np.repeat([1.0, 0.0], [hits, n - hits])
    exact = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    low, high = scores.interval(values, resamples=4000)
    width = exact.high - exact.low
    assert low == pytest.approx(exact.low, abs=0.12 * width)
    assert high == pytest.approx(exact.high, abs=0.12 * width)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_interval_without_any_variation_is_the_exact_binomial_bound(value: float) -> None:
    exact = binomtest(int(20 * value), 20).proportion_ci(0.95, method="exact")
    assert scores.interval(np.full(20, value)) == pytest.approx((exact.low, exact.high))


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(300):
        low, high = scores.interval(rng.random(120) < 0.3, resamples=200, seed=trial)
        covered += low <= 0.3 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_groups_that_repeat_a_row_give_the_interval_of_the_distinct_rows() -> None:
    rng = np.random.default_rng(0)
    distinct = (rng.random(60) < 0.5).astype(float)
    repeated, groups = np.repeat(distinct, 5), np.repeat(np.arange(60), 5)
    single = scores.interval(distinct, resamples=2000)
    grouped = scores.interval(repeated, groups=groups, resamples=2000)
    naive = scores.interval(repeated, resamples=2000)
    assert np.diff(grouped) == pytest.approx(np.diff(single), rel=0.1)
    assert np.diff(naive) == pytest.approx(np.diff(single) / np.sqrt(5), rel=0.15)


def test_interval_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    values = np.arange(50) / 50
    assert scores.interval(values, seed=1) == scores.interval(values, seed=1)
    assert scores.interval(values, seed=1) != scores.interval(values, seed=2)


def test_interval_refuses_nothing_and_misfitting_groups() -> None:
    with pytest.raises(ValueError, match="no values"):
        scores.interval(np.array([]))
    with pytest.raises(ValueError, match="got 2 labels for 3 values"):
        scores.interval(np.ones(3), groups=[1, 2])


def test_metrics_file_is_one_flat_object_and_reads_back(tmp_path) -> None:
    name = "emoji.unseen_artist.text_to_image.R@1"
    rank = Score(3.0, 2.0, 4.0, 690.0, 1382, 691.0, unit="rank")
    measured = {name: ONE.beside(0.45), "median": rank}
    scores.save(tmp_path / "run" / "metrics.json", measured)
    entry = json.loads((tmp_path / "run" / "metrics.json").read_text())[name]
    assert {key: entry[key] for key in ("value", "low", "high", "blind", "closed_form", "n")} == {
        "value": 0.51,
        "low": 0.48,
        "high": 0.54,
        "blind": 0.001,
        "closed_form": 0.45,
        "n": 1382,
    }
    assert scores.load(tmp_path / "run" / "metrics.json") == measured
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["metrics.json"]


def test_beside_and_prefixed_join_by_name() -> None:
    joined = scores.beside({"a": ONE, "b": ONE}, {"a": Score(0.4, 0.3, 0.5, 0.0, 9, 0.0)})
    assert joined["a"].closed_form == 0.4
    assert joined["b"].closed_form is None
    assert list(scores.prefixed("stamps.fr", joined)) == ["stamps.fr.a", "stamps.fr.b"]


def test_better_is_higher_for_fractions_and_lower_for_ranks() -> None:
    assert ONE.better_than(0.45)
    assert not ONE.better_than(0.6)
    assert Score(3, 2, 4, 9, 5, 9, unit="rank").better_than(4)
    with pytest.raises(ValueError, match="percent"):
        Score(1, 1, 1, 1, 1, 1, unit="percent")


def test_table_shows_every_number_and_marks_what_does_not_clear_its_blind_baseline() -> None:
    out = io.StringIO()
    chance = Score(0.02, 0.0, 0.05, 0.01, 40, 0.01, closed_form=0.3)
    measured = {"emoji.unseen_artist.text_to_image.R@1": ONE.beside(0.45), "noise.R@1": chance}
    scores.table(measured, console=Console(file=out))
    real, noise = (" ".join(line.split()) for line in out.getvalue().splitlines()[2:4])
    assert real == "emoji.unseen_artist.text_to_image.R@1 51.0 48.0 … 54.0 0.1 0.1 45.0 1,382"
    assert noise == "noise.R@1 = 2.0 0.0 … 5.0 1.0 1.0 30.0 40"
