"""Gains by hand, their table and file; what was trained is not trained again."""

import json
import math

import pytest

from sensorium.recipes import gains


def test_gains_are_of_the_same_seeds():
    more, error = gains.gain([0.6, 0.8], [0.5, 0.5])
    assert (more, error) == (pytest.approx(0.2), pytest.approx(0.1))  # 0.1 and 0.3: deviation √0.02, over √2
    assert gains.gain([1.0, 1.0], [3.0, 2.0], higher=False)[0] == pytest.approx(1.5)
    assert math.isnan(gains.gain([1.0], [0.0])[1])


def test_the_report_says_means_gains_and_errors(tmp_path, capsys):
    cells = {"none": {"1%": [0.5, 0.5], "10%": [0.9, 0.7]}, "semi": {"1%": [0.6, 0.8], "10%": [0.8, 0.8]}}
    gains.report(tmp_path, "title", cells, "none", {"1%": True, "10%": True})
    printed = capsys.readouterr().out
    assert "0.700  +0.200 ± 0.100" in printed
    assert "0.800  +0.000 ± 0.100" in printed
    written = json.loads((tmp_path / "gains.json").read_text())
    assert written["semi"]["1%"]["gain"] == pytest.approx(0.2)
    assert written["none"]["10%"]["mean"] == pytest.approx(0.8)
    assert (tmp_path / "gains.png").stat().st_size > 5_000


def test_every_start_and_share_is_trained_once(tmp_path, monkeypatch):
    asked = []

    def recorded(make, folder):
        asked.append(folder.name)
        return {"group.accuracy": {"value": len(asked) / 100}}, ["group.accuracy"]

    monkeypatch.setattr(gains, "trained", recorded)
    cells = gains.few_label_gains(tmp_path, seeds=2, shares=(0.1, 1.0))
    assert asked[:3] == ["none-0.1-0", "none-0.1-1", "semi-0.1-0"]
    assert len(asked) == len(set(asked)) == 16
    assert cells["semi"]["10%"] == [0.03, 0.04]


def test_a_finished_run_is_read(tmp_path):
    (tmp_path / "gains.json").write_text(json.dumps({"scores": {"a": {"value": 1}}, "asked": ["a"]}))

    def never():
        raise AssertionError("it was trained before")

    assert gains.trained(never, tmp_path) == ({"a": {"value": 1}}, ["a"])
