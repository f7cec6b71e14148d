import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from sensorium.evaluation import scores
from sensorium.evaluation.generated import (
    Baselines,
    GeneratedScore,
    Measured,
    from_entry,
    load,
    score_of,
    table,
)
from sensorium.training.history import entry


def hits(share: float, n: int = 200) -> Measured:
    return Measured(np.arange(n) < share * n, unit="fraction")


def test_interval_and_value_are_those_of_the_plain_bootstrap() -> None:
    values = np.random.default_rng(0).random(80)
    score = score_of(Measured(values))
    assert score.value == pytest.approx(values.mean())
    assert (score.low, score.high) == scores.interval(values)
    assert score.n == 80
    assert score.clears is None  # nothing blind to clear


def test_margin_is_over_the_best_of_the_blind_and_paired() -> None:
    rng = np.random.default_rng(1)
    blind = (rng.random(300) < 0.4).astype(float)
    better = blind.copy()
    better[np.flatnonzero(blind == 0)[:30]] = 1  # right on 30 more items, wrong on none that blind has right
    score = score_of(
        Measured(better),
        Baselines(Measured(blind), [Measured(blind * 0), Measured(blind * 0)], Measured(blind * 0)),
    )
    assert score.margin_over == "blind_withheld"
    assert score.margin == pytest.approx(0.1)
    paired = scores.interval(better - blind)
    assert (score.margin_low, score.margin_high) == pytest.approx(paired)
    assert score.margin_high - score.margin_low < 0.8 * (score.high - score.low)  # narrower than unpaired


def test_shuffles_are_averaged_and_a_better_copy_is_no_blind_one() -> None:
    score = score_of(hits(0.5), Baselines(blind_shuffled=[hits(0.1), hits(0.3)], copy=hits(0.9)))
    assert score.blind_shuffled == pytest.approx(0.2)
    assert score.margin == pytest.approx(0.3)
    assert score.copy == pytest.approx(0.9)
    assert score.clears is True
    assert not score.better_than(score.copy)
    assert score.copy_margin == pytest.approx(-0.4)
    assert score.beats_copy is False


def test_the_margin_over_the_copy_is_paired_and_positive_where_there_are_fewer_errors() -> None:
    copy = np.repeat([1.0, 0.0], 100)
    better = np.concatenate([np.ones(80), np.zeros(120)])  # 20 of 200 errors fewer, none new
    score = score_of(Measured(better, unit="error"), Baselines(copy=Measured(copy, unit="error")))
    assert score.copy_margin == pytest.approx(0.1)
    assert (score.copy_margin_low, score.copy_margin_high) == pytest.approx(scores.interval(copy - better))
    assert score.beats_copy is True
    assert (score.margin, score.clears) == (None, None)  # a copy is no blind one
    same = score_of(Measured(copy, unit="error"), Baselines(copy=Measured(copy, unit="error")))
    assert (same.copy_margin, same.copy_margin_low, same.copy_margin_high) == (0, 0, 0)
    assert same.beats_copy is False
    assert score_of(Measured(better)).beats_copy is None


def test_names_only_must_be_passed_too() -> None:
    base = {"blind_shuffled": [hits(0.1)]}
    assert score_of(hits(0.5), Baselines(**base, names_only=0.3)).clears is True
    assert score_of(hits(0.5), Baselines(**base, names_only=0.49)).clears is False


def test_errors_are_better_when_lower() -> None:
    few, many = Measured(np.tile([0.0, 0.4], 50), unit="error"), Measured(np.full(100, 0.9), unit="error")
    score = score_of(few, Baselines(many, majority=Measured(np.full(100, 1.4), unit="error")))
    assert score.margin_over == "blind_withheld"  # the best is the one with fewest errors
    assert score.margin == pytest.approx(0.7)
    assert score.margin_low > 0
    assert score.clears is True
    assert score.better_than(0.5)
    assert score_of(many, Baselines(few)).clears is False


def test_groups_are_those_of_the_rows_that_a_metric_covers() -> None:
    rows = np.arange(0, 120, 2)
    values = (np.arange(60) // 6 % 2).astype(float)
    groups = np.repeat(np.arange(10), 12)  # six of each group's rows are covered
    score = score_of(Measured(values, rows=rows), groups=groups)
    assert (score.low, score.high) == scores.interval(values, groups=groups[rows])
    assert score.high - score.low > 0.4


def test_metrics_file_holds_flat_keys_and_both_kinds_read_back(tmp_path) -> None:
    score = score_of(hits(0.8), Baselines(hits(0.5), [hits(0.4)], hits(0.5), hits(0.6)))
    name = "scenes.unseen_artist.there.accuracy"
    plain = scores.Score(0.5, 0.4, 0.6, 0.1, 9, 0.1)
    written = {name: entry(score), "R@1": entry(plain)}
    (tmp_path / "metrics.json").write_text(json.dumps(written, allow_nan=False))
    flat = json.loads((tmp_path / "metrics.json").read_text())[name]
    wanted = ("value", "blind_withheld", "blind_shuffled", "majority", "copy", "n")
    assert {key: flat[key] for key in wanted} == {
        "value": 0.8,
        "blind_withheld": 0.5,
        "blind_shuffled": 0.4,
        "majority": 0.5,
        "copy": 0.6,
        "n": 200,
    }
    assert flat["low"] < 0.8 < flat["high"]
    assert load(tmp_path / "metrics.json") == {name: score, "R@1": plain}
    assert from_entry(score.as_dict()) == score


def test_table_shows_baselines_that_were_run_and_marks_what_was_not_learned() -> None:
    out = io.StringIO()
    good = GeneratedScore(0.8, 0.75, 0.85, 1200, 0.5, 0.4, 0.45, 0.9, None, 0.3, 0.25, 0.35, "blind_withheld")
    noise = GeneratedScore(0.5, 0.45, 0.55, 400, 0.49, 0.5, margin=0.0, margin_low=-0.02, margin_high=0.02)
    words = GeneratedScore(0.4, 0.3, 0.5, 9, 0.9, unit="error", note="how")
    table({"there": good, "yes/no": noise, "wer": words}, console=Console(file=out))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert lines[1] == "score value 95 % interval withheld shuffled majority copy margin over blind n"
    assert lines[2] == "there 80.0 75.0 … 85.0 50.0 40.0 45.0 90.0 +30.0 (25.0 … 35.0) 1,200"
    assert lines[3] == "yes/no = 50.0 45.0 … 55.0 49.0 50.0 – – +0.0 (-2.0 … 2.0) 400"
    assert lines[4] == "wer 40.0 ↓ 30.0 … 50.0 90.0 – – – – 9"
    assert lines[5] == "how"

    out = io.StringIO()
    over = replace(good, copy_margin=0.1, copy_margin_low=0.02, copy_margin_high=0.2)
    under = replace(good, copy_margin=-0.01, copy_margin_low=-0.04, copy_margin_high=0.02)
    table({"over": over, "under": under, "none": noise}, console=Console(file=out))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert lines[1].endswith("copy margin over blind margin over copy n")
    assert lines[2].endswith("+30.0 (25.0 … 35.0) +10.0 (2.0 … 20.0) 1,200")
    assert lines[3].endswith("= -1.0 (-4.0 … 2.0) 1,200")
    assert lines[4].endswith("+0.0 (-2.0 … 2.0) – 400")
    with pytest.raises(ValueError, match="unit: got 'percent'"):
        GeneratedScore(1, 1, 1, 1, unit="percent")
