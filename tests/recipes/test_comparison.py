"""Fusions compared on a table whose label needs both columns, and the numbers of made outcomes."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_towers
import torch

from sensorium.cli import main
from sensorium.data.sample import Sample
from sensorium.evaluation.predictions import outputs_of
from sensorium.evaluation.shapley import subsets
from sensorium.fusion import KINDS
from sensorium.recipes import comparison_trials
from sensorium.recipes.comparison import Found, by_a_coin, compare, metric_of
from sensorium.recipes.comparison_report import gates_of, write
from sensorium.recipes.comparison_trials import Budget, Outcome, Trial, batches_to_test, without_towers
from sensorium.tasks import Number, OneOf

COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255)}
BOTH, PHOTO, TITLE = frozenset({"photo", "title"}), frozenset({"photo"}), frozenset({"title"})


@pytest.fixture(autouse=True)
def towers(monkeypatch, tmp_path):
    tiny_towers.put_in(monkeypatch)
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def table(tmp_path) -> Path:
    """Red or blue, "aa" or "bb": the label is whether both are of the first kind or both of the second."""

    def row(n: int):
        colour, word = ("red", "blue")[n % 2], ("aa", "bb")[n // 2 % 2]
        agree = ("yes", "no")[(colour == "red") != (word == "aa")]
        return tiny_towers.plain(COLOURS[colour], n), [word, agree]

    return tiny_towers.photos_table(tmp_path / "data" / "pairs.csv", ["title", "agree"], map(row, range(80)))


def options_of(folder: Path, **changes) -> dict:
    given = {
        "kinds": ["gated"],
        "label": ["agree"],
        "folder": folder,
        "seeds": 1,
        "steps": 60,
    }
    return {**given, "lr": 0.02, "width": 16, "drop": 0.0, "progress": False, **changes}


def test_fusions_learn_what_no_column_tells_and_are_not_trained_twice(table, tmp_path, monkeypatch):
    found = compare(str(table), **options_of(tmp_path / "run"))
    kinds = {way.name: way for way in found.compared.kinds}
    assert kinds["gated"].score.value == 1.0
    assert [way.name for way in found.compared.singles] == ["photo", "title"]
    for way in found.compared.singles:
        assert 0.2 <= way.score.value <= 0.8
    one = kinds["gated"]
    assert sum(share.value for share in one.shapley.values()) == pytest.approx(1 - 0.5)
    assert one.costs["photo"].value == pytest.approx(1 - one.missing["photo"].value)
    assert found.compared.majority == 0.5
    written = json.loads((tmp_path / "run" / "comparison.json").read_text())
    assert written["kinds"][0]["score"]["value"] == 1.0
    assert written["n"] == 16

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(comparison_trials, "train", never)
    again = compare(str(table), **options_of(tmp_path / "run"))
    assert again.compared == found.compared
    with pytest.raises(AssertionError, match="trained again"):  # another budget is another comparison
        compare(str(table), **options_of(tmp_path / "run", steps=61))

    paths = write(tmp_path / "run", found)
    assert [path.name for path in paths] == [
        "comparison.json",
        "table.md",
        "comparison.png",
        "comparison.svg",
        "gates_gated.png",
        "report.html",
    ]
    report = paths[-1].read_text()
    assert report.count("<img") == 2
    [gates] = gates_of(found)
    assert gates.values.shape == (16, 2)
    assert gates.pictures[0].shape == (4, 4, 3)


def test_a_model_without_its_towers_answers_the_same(table, tmp_path):
    budget = Budget(str(table), ("agree",), steps=1, width=8)
    run = budget.run(Trial("gated", ("photo", "title"), 0.0, 0), tmp_path / "run")
    batches = batches_to_test(run, budget, tmp_path / "run")
    model = run.model.eval()
    before = outputs_of(model, batches, model.tasks)["agree"]
    without_towers(model)
    assert sum(p.numel() for p in model.encoders.parameters()) == 0
    assert torch.equal(outputs_of(model, batches, model.tasks)["agree"], before)


def test_the_command_prints_the_table_writes_the_report_and_names_bad_media(table, tmp_path, capsys):
    (table.parent / "0.png").write_bytes(b"no picture")
    folder = tmp_path / "quick"
    command = f"compare {table} --label agree --kinds average --seeds 1 --quick --folder {folder}"
    main(command.split())
    printed = capsys.readouterr().out
    assert "+ modality dropout" in printed
    assert "photo alone" in printed
    assert (folder / "report.html").is_file()
    [bad] = (folder / "quarantine.jsonl").read_text().splitlines()
    assert "0.png" in bad


def outcome_of(
    right: dict[frozenset[str], list[int]], present: dict[str, list[int]] | None = None
) -> Outcome:
    """A made model: by subset seen, for every row whether it says "yes"."""
    n = len(right[BOTH])
    here = present or {"photo": [1] * n, "title": [1] * n}
    logits = {seen: torch.eye(2)[torch.tensor(said)] for seen, said in right.items()}
    return Outcome({"agree": logits}, {c: np.array(p, bool) for c, p in here.items()}, None, 7, 1.5)


def test_numbers_of_made_outcomes():
    """All are "yes". Both columns: 4 of 4 right; photo: 3; title: 2; neither: 1."""
    task = OneOf("agree", ["no", "yes"])
    said = {BOTH: [1, 1, 1, 1], PHOTO: [1, 1, 1, 0], TITLE: [1, 1, 0, 0], frozenset(): [1, 0, 0, 0]}
    trials = {Trial("gated", ("photo", "title"), 0.0, seed): outcome_of(said) for seed in range(2)}
    for column, seen in (("photo", PHOTO), ("title", TITLE)):
        alone = {frozenset(): torch.eye(2)[[0] * 4], seen: torch.eye(2)[said[seen]]}
        made = Outcome({"agree": alone}, {column: np.ones(4, bool)}, None, 3, 1.0)
        trials |= {Trial("concatenation", (column,), 0.0, seed): made for seed in range(2)}
    rows = [Sample(str(n), {}, {}, fields={"agree": "yes"}) for n in range(4)]
    found = Found(task, "accuracy", rows, resamples=20)
    drawn = found.compared("table.csv", ("photo", "title"), trials, rows, "")
    [way] = drawn.kinds
    assert way.score.value == 1.0
    assert way.missing["photo"].value == 0.5
    assert way.costs["title"].value == 0.25
    assert way.shapley["photo"].value == pytest.approx(((0.75 - 0.25) + (1 - 0.5)) / 2)
    assert way.shapley["title"].value == pytest.approx(((0.5 - 0.25) + (1 - 0.75)) / 2)
    assert way.gain.value == 0.25  # over the photo alone, the better one
    assert drawn.best_single.name == "photo"
    assert drawn.majority == 1.0


def test_a_coin_hides_half_and_never_the_last_column():
    n = 2000
    columns = ["photo", "title"]
    outputs = {seen: torch.full((n, 1), float(len(seen))) for seen in subsets(columns)}
    outputs[PHOTO] = torch.full((n, 1), 10.0)
    everywhere = {column: np.ones(n, bool) for column in columns}
    seen = by_a_coin(outputs, everywhere)[:, 0]
    assert set(seen.tolist()) == {1.0, 2.0, 10.0}
    assert (seen == 2).float().mean() == pytest.approx(1 / 4, abs=0.04)  # both stay
    assert (seen == 10).float().mean() == pytest.approx(
        3 / 8, abs=0.04
    )  # one of them, also where both would go
    lacking = by_a_coin(outputs, {"photo": np.zeros(n, bool), "title": np.ones(n, bool)})
    assert set(lacking[:, 0].tolist()) == {1.0}
    nothing = by_a_coin(outputs, {column: np.zeros(n, bool) for column in columns})
    assert set(nothing[:, 0].tolist()) == {0.0}


def test_the_metric_is_the_puzzles_or_the_usual_one():
    assert metric_of("sentiment", OneOf("sentiment", ["a", "b"])) == "accuracy"
    assert metric_of("my/table.csv", Number("rating")) == "mae"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kinds": ["gatedd"]}, "Did you mean 'gated'"),
        ({"columns": ["photo"]}, "expected two or more to fuse"),
        ({"columns": ["photo", "sound"]}, "sound"),
        ({"seeds": 0}, "--seeds 0"),
        ({"drop": 1.0}, "--drop 1.0"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_trained(table, tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        compare(str(table), **options_of(tmp_path / "run", **changes))
    assert not (tmp_path / "run" / "trials").exists()


def test_an_unknown_task_lists_the_puzzles_and_an_unknown_kind_all_kinds(table, tmp_path):
    with pytest.raises(ValueError, match=r"sentiment.*--label"):
        compare("sentimental", folder=tmp_path)
    with pytest.raises(ValueError) as refused:
        compare(str(table), **options_of(tmp_path, kinds=["nothing"]))
    assert all(kind in str(refused.value) for kind in KINDS)
