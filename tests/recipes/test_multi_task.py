"""Two tasks of one table: which are learned, how they are weighed, and what stays on record."""

import json
import math
from pathlib import Path

import pytest
import tiny_towers

from sensorium.recipes.fusion_data import data_of
from sensorium.recipes.multi_task import joined, multi_task
from sensorium.training.loop import fit


@pytest.fixture(autouse=True)
def towers(monkeypatch, tmp_path):
    tiny_towers.put_in(monkeypatch)
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def table(tmp_path) -> Path:
    """The label is what the title is, the number how bright the photo is; half of the rows lack the number."""

    def row(n: int):
        light = n / 60 if n % 4 < 2 else ""
        return tiny_towers.plain(4 * n, 4 * n), [("aa", "bb")[n % 2], ("first", "second")[n % 2], light]

    header = ["title", "kind", "light"]
    return tiny_towers.photos_table(tmp_path / "data" / "table.csv", header, map(row, range(60)))


def run_of(table: Path, folder: Path, **options):
    given = {"label": ("kind", "light:number"), "steps": 6, "lr": 0.02, "width": 8, "progress": False}
    return multi_task((str(table),), folder=folder, **{**given, **options})


def test_both_tasks_are_trained_scored_and_watched(table, tmp_path):
    trained = fit(run_of(table, tmp_path / "run"))
    assert all({"loss/kind", "loss/light", "cosine/kind|light"} <= set(record) for record in trained.steps)
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {"kind.accuracy", "light.mae"} <= set(scores)
    assert (tmp_path / "run" / "conflict.png").stat().st_size > 10_000


def test_factors_weigh_the_total(table, tmp_path):
    trained = fit(run_of(table, tmp_path / "run", weights=("light=0.25",), steps=2))
    for record in trained.steps:
        expected = record["loss/kind"] + 0.25 * record["loss/light"]
        assert record["loss"] == pytest.approx(expected, rel=1e-6)


def test_learned_uncertainty_starts_at_one_and_moves(table, tmp_path):
    run = run_of(table, tmp_path / "run", weighting="uncertainty", steps=4)
    assert {name: s.item() for name, s in run.model.log_variances.items()} == {"kind": 0.0, "light": 0.0}
    fit(run)
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    for name, s in run.model.log_variances.items():
        assert s.item() != 0.0
        assert scores[f"{name}.sigma"]["value"] == pytest.approx(math.exp(s.item() / 2))


def test_each_way_of_weighing_is_its_own_run(table, tmp_path):
    assert run_of(table, tmp_path, weighting="pcgrad").conflict == "project"
    assert run_of(table, tmp_path).conflict == "watch"
    alone = run_of(table, tmp_path, only=("light",))
    assert alone.conflict is None
    assert [task.name for task in alone.model.tasks] == ["light"]
    assert all(sample.fields["light"] is not None for sample in alone.collate.samples)


def test_rows_of_several_tables_lack_each_other_s_answers(table, tmp_path):
    one, other = (data_of(str(table), (field,), folder=tmp_path) for field in ("kind", "light:number"))
    both = joined([one, other])
    assert [task.name for task in both.tasks] == ["kind", "light"]
    assert len(both.samples("test")) == len(one.samples("test")) + len(other.samples("test"))
    with pytest.raises(ValueError, match="kind: asked for by several"):
        joined([one, one])


def test_what_cannot_be_weighed_is_refused(table, tmp_path):
    with pytest.raises(ValueError, match="NAME=NUMBER, with a name of kind, light"):
        run_of(table, tmp_path, weights=("size=2",))
    with pytest.raises(ValueError, match="which learns them"):
        run_of(table, tmp_path, weights=("kind=2",), weighting="uncertainty")
    with pytest.raises(ValueError, match="the tasks are kind, light"):
        run_of(table, tmp_path, only=("size",))
