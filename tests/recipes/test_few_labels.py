"""Few labels on a table whose picture and word say the same: which labels are used, and what the rest become."""

import json
from pathlib import Path

import pytest
import tiny_towers
import torch

from sensorium.recipes.few_labels import few_labels
from sensorium.recipes.few_labels_data import emoji_groups, labels_from_words
from sensorium.training import history
from sensorium.training.loop import fit

COLOURS = {"aaa": (255, 0, 0), "bbb": (0, 0, 255)}


@pytest.fixture(autouse=True)
def towers(monkeypatch, tmp_path):
    tiny_towers.put_in(monkeypatch)
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def table(tmp_path) -> Path:
    """Red pictures called "aac", "aad", … and labelled aaa; blue ones "bbc", … labelled bbb."""

    def row(n: int):
        kind = ("aaa", "bbb")[n % 2]
        return tiny_towers.plain(COLOURS[kind], n), [kind[:2] + "cdefgh"[n % 6], kind]

    return tiny_towers.photos_table(tmp_path / "data" / "table.csv", ["title", "kind"], map(row, range(60)))


def run_of(table: Path, folder: Path, **options):
    given = {"label": ("kind",), "steps": 12, "lr": 0.02, "width": 8, "labels": 0.1, "progress": False}
    return few_labels(str(table), folder=folder, **{**given, **options})


def answers(run) -> list:
    return [sample.fields["kind"] for sample in run.collate.samples]


def test_plain_training_sees_the_labelled_rows_alone(table, tmp_path):
    run = run_of(table, tmp_path / "run")
    assert sorted(answers(run)) == ["aaa", "aaa", "bbb", "bbb"]  # a tenth of 24 of each
    assert run.steps == 12


def test_pseudo_labels_see_labelled_and_other_rows_half_and_half(table, tmp_path):
    run = run_of(table, tmp_path / "run", start="semi", threshold=0.0, steps=2)
    assert answers(run).count(None) == 44
    order = run.order(0, 0, 48)
    assert sum(answers(run)[place] is not None for place in order) == 24
    trained = fit(run)
    assert all(record["loss/pseudo/kind"] > 0 for record in trained.steps)


def test_a_weak_start_learns_the_labels_of_the_words(table, tmp_path):
    run = run_of(table, tmp_path / "run", start="weak", steps=40)
    assert "48 rows labelled by their words to start with, 100.0% of them rightly" in run.data_card
    begun = history.read(tmp_path / "run" / "start" / "history.jsonl")
    assert len(begun) == 20
    assert begun[-1]["loss/kind"] < 0.5 * begun[0]["loss/kind"]
    assert run.steps == 20
    assert len(run.data) == 4


def test_a_start_without_labels_comes_first_and_takes_half_the_steps(table, tmp_path):
    run = run_of(table, tmp_path / "run", start="self")
    before = run.model.projectors["photo"].linear.weight.detach().clone()
    begun = json.loads((tmp_path / "run" / "start" / "history.jsonl").read_text().splitlines()[-1])
    assert begun["step"] == 6
    assert {"loss/info_nce/photo-title", "loss/hidden/photo", "loss/hidden/title"} <= set(begun)
    assert run.steps == 6
    assert len(run.data) == 4
    heads = run.model.heads["kind"]["fused"].weight.detach().clone()
    fit(run)
    assert not torch.equal(run.model.projectors["photo"].linear.weight, before)
    assert not torch.equal(run.model.heads["kind"]["fused"].weight, heads)
    untouched = run_of(table, tmp_path / "plain", start="none")
    assert not torch.equal(untouched.model.projectors["photo"].linear.weight, before)


def test_with_all_labels_pseudo_labels_are_plain_training(table, tmp_path):
    plain = fit(run_of(table, tmp_path / "plain", labels=1.0, steps=3))
    semi = fit(run_of(table, tmp_path / "semi", labels=1.0, start="semi", steps=3))
    assert [record["loss"] for record in semi.steps] == [record["loss"] for record in plain.steps]


def test_words_are_compared_without_what_they_share():
    shared = torch.tensor([10.0, 0.0, 0.0])
    vectors = torch.tensor([[0.0, 1, 0], [0, 0, 1], [0, 2, 0]]) + shared
    names = torch.tensor([[0.0, 0, 3], [0, 3, 0]]) + 2 * shared
    assert labels_from_words(vectors, names) == [1, 0, 1]


def test_the_drawings_are_tested_on_other_things_by_another_artist():
    data = emoji_groups()
    train, test = data.samples("train"), data.samples("test")
    assert not {s.fields["thing"] for s in train} & {s.fields["thing"] for s in test}
    assert {s.fields["artist"] for s in test} == {"fluent-emoji-flat"}
    assert "fluent-emoji-flat" not in {s.fields["artist"] for s in train}
    assert data.tasks[0].width == 8


def test_what_has_no_labels_or_no_words_is_refused(table, tmp_path):
    with pytest.raises(ValueError, match="expected a share above 0"):
        run_of(table, tmp_path / "run", labels=0.0)
    with pytest.raises(ValueError, match="one label of several"):
        few_labels("things", folder=tmp_path / "run")
