"""A fusion network on a user's table: what is asked is guessed, what is learned needs both columns."""

import csv
import json
from pathlib import Path

import pytest
import tiny_towers
import torch

import sensorium
from sensorium.data.sample import Sample
from sensorium.objectives.supervised import Supervised
from sensorium.recipes.fusion import fusion, options_of
from sensorium.recipes.fusion_data import answered_splits, batches_of, data_of, groups_of, share_of
from sensorium.recipes.labels import guess, labels_of
from sensorium.tasks import AnyOf, Box, Number, OneOf
from sensorium.training.loop import fit

COLOURS, WORDS = {"red": (255, 0, 0), "blue": (0, 0, 255)}, {"aa": 0, "bb": 1}


@pytest.fixture(autouse=True)
def towers(monkeypatch, tmp_path):
    tiny_towers.put_in(monkeypatch)
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def table(tmp_path) -> Path:
    """Equal rows of red and blue, aa and bb; the label is whether both are of the first kind or both of the second."""

    def row(n: int):
        colour, word = ("red", "blue")[n % 2], ("aa", "bb")[n // 2 % 2]
        agree = (colour == "red") == (word == "aa")
        return tiny_towers.plain(COLOURS[colour], n), [word, "yes" if agree else "no", 1.5 * n]

    header = ["title", "agree", "points"]
    return tiny_towers.photos_table(tmp_path / "data" / "pairs.csv", header, map(row, range(80)))


def run_of(table: Path, folder: Path, **options):
    given = {"label": ("agree",), "steps": 120, "lr": 0.02, "width": 16, "dropout": 0.0, "progress": False}
    return fusion(str(table), "concatenation", folder=folder, **{**given, **options})


def test_what_needs_both_columns_is_learned_from_both(table, tmp_path):
    fit(run_of(table, tmp_path / "run"))
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["agree.accuracy"]["value"] == 1.0
    assert scores["agree.accuracy"]["n"] == 16
    for column in ("photo", "title"):  # each alone is a coin
        assert 0.2 <= scores[f"agree.without_{column}.accuracy"]["value"] <= 0.8
    assert scores["agree.accuracy"]["majority"] == 0.5


def test_one_column_alone_does_not_learn_it(table, tmp_path):
    run = run_of(table, tmp_path / "run", columns=("photo",))
    fit(run)
    assert run.model.columns == ("photo",)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["agree.accuracy"]["value"] < 0.9


def test_a_checkpoint_gives_the_outputs_that_were_trained(table, tmp_path):
    run = run_of(table, tmp_path / "run", label=("agree", "points"), steps=5, stand_ins=True)
    trained = fit(run)
    with torch.no_grad():
        [batch] = batches_of(run.collate)
        cached = trained.model(batch).outputs
        loaded = sensorium.load(tmp_path / "run")
        again = loaded.model(batch).outputs
    assert loaded.tasks == run.model.tasks
    for task in ("agree", "points"):
        assert torch.equal(cached[task], again[task])
    said = loaded.predict(run.collate.samples)  # from the files, not from the cache
    numbers = [prediction.answers["points"] for prediction in said]
    assert numbers == pytest.approx(loaded.tasks[1].answers(cached["points"]), abs=1e-3)


def test_a_run_that_broke_off_ends_as_it_would_have(table, tmp_path, monkeypatch):
    options = {"steps": 8, "drop": 0.3, "dropout": 0.2}
    whole = fit(run_of(table, tmp_path / "whole", **options)).model.state_dict()

    calls, loss = [], Supervised.__call__

    def breaks_off(self, model, batch):
        calls.append(batch)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return loss(self, model, batch)

    run = run_of(table, tmp_path / "broken", **options)
    run.save_every = 2
    with monkeypatch.context() as patched:
        patched.setattr(Supervised, "__call__", breaks_off)
        with pytest.raises(KeyboardInterrupt):
            fit(run)
    resumed = fit(run_of(table, tmp_path / "broken", **options)).model.state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("kind", ["gated", "average", "cross_attention"])
def test_kinds_of_fusion_by_name(table, tmp_path, kind):
    run = fusion(str(table), kind, label=("agree",), folder=tmp_path, steps=2, width=8, progress=False)
    assert run.system_args["fusion"] == kind
    assert run.collate.cached["photo"].what == ("tokens" if kind == "cross_attention" else "pooled")
    assert fit(run).scores["agree.accuracy"]["n"] == 16
    trained = sensorium.load(tmp_path)
    with torch.no_grad():
        [batch] = batches_of(run.collate)
        cached = trained.model(batch).outputs["agree"].softmax(-1)
    said = [one.probabilities["agree"]["yes"] for one in trained.predict(run.collate.samples)]
    assert said == pytest.approx(cached[:, 1].tolist(), abs=2e-3)  # tokens are cached in float16


def test_the_split_of_the_user_is_kept(table, tmp_path):
    rows = list(csv.DictReader(table.open()))
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], "split"])
        writer.writeheader()
        splits = ["train"] * 50 + ["val"] * 10 + ["test"] * 20
        writer.writerows({**row, "split": split} for row, split in zip(rows, splits, strict=True))
    data = data_of(str(table), ("agree",), folder=tmp_path)
    assert [len(data.samples(split)) for split in ("train", "validation", "test")] == [50, 10, 20]


def test_words_under_a_name_of_ones_own_are_declared(table, tmp_path):
    table.write_text(table.read_text().replace("title", "review"))
    assert dict(data_of(str(table), ("agree",), folder=tmp_path).modality) == {"photo": "image"}
    data = data_of(str(table), ("agree",), folder=tmp_path, columns=("photo", "review:text"))
    assert dict(data.modality) == {"photo": "image", "review": "text"}
    with pytest.raises(ValueError, match="expected one of image, text"):
        data_of(str(table), ("agree",), folder=tmp_path, columns=("review:words",))


def rows_of(answers) -> list[Sample]:
    return [Sample(f"r{n}", {}, {}, fields={"mood": answer}) for n, answer in enumerate(answers)]


def test_a_share_of_labels_is_alike_in_every_label_and_part_of_a_larger_share():
    rows, task = rows_of(["glad"] * 100 + ["sad"] * 10), OneOf("mood", ["glad", "sad"])
    kept = {share: [row.id for row in share_of(rows, task, share)] for share in (0.01, 0.1, 0.5)}
    moods = {row.id: row.fields["mood"] for row in rows}
    counts = {share: [[moods[id] for id in ids].count(m) for m in task.labels] for share, ids in kept.items()}
    assert counts == {0.01: [1, 1], 0.1: [10, 1], 0.5: [50, 5]}
    assert set(kept[0.01]) < set(kept[0.1]) < set(kept[0.5])
    assert kept[0.1] != [row.id for row in share_of(rows, task, 0.1, seed=1)]


def test_groups_of_like_answers():
    assert groups_of(rows_of(["a", None, "b"]), OneOf("mood", ["a", "b"])) == ["a", None, "b"]
    several = rows_of([["a", "b"], ["a"], [], ["a", "c"]])
    assert groups_of(several, AnyOf("mood", ["a", "b", "c"])) == ["b", "a", None, "c"]
    assert groups_of(rows_of([0.0, 1.0, 2.0, 3.0, 4.0]), Number("mood")) == [0, 1, 2, 3, 4]


def test_balance(table, tmp_path):
    rows = list(csv.DictReader(table.open()))
    kept = [row for n, row in enumerate(rows) if row["agree"] == "yes" or n % 8 == 1]
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(kept)
    weighted = run_of(table, tmp_path / "w", balance="weights")
    answers = [sample.fields["agree"] for sample in weighted.collate.samples]
    no, yes = answers.count("no"), answers.count("yes")
    weights = weighted.objectives[0].class_weights["agree"]
    assert weights.tolist() == pytest.approx([2 * yes / (no + yes), 2 * no / (no + yes)])
    sampled = run_of(table, tmp_path / "s", balance="sampler")
    places = sampled.order(0, 0, len(sampled.data))
    shown = [sampled.collate.samples[place].fields["agree"] for place in places]
    assert abs(shown.count("yes") - shown.count("no")) <= 1 < yes - no
    with pytest.raises(ValueError, match=r"--balance weights.*kind number"):
        run_of(table, tmp_path / "n", label=("points",), balance="weights")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["glad", "sad"], "one_of"),
        (["0", "1", "1"], "one_of"),
        (["0.5", "-2"], "number"),
        (list(range(30)), "number"),
        (["a|b", "a"], "any_of"),
        ([["a"], []], "any_of"),
        ([[0.5, 0.5, 0.1, 0.2]], "box"),
    ],
)
def test_kinds_of_tasks_are_guessed(values, kind):
    assert guess(values) == kind


def test_labels_are_read_and_said():
    found = labels_of(rows_of(["10", "9", " 9 ", None, "10"]), ["mood"], "here")
    assert found.tasks == (OneOf("mood", ["9", "10"]),)
    assert [row.fields["mood"] for row in found.samples] == ["10", "9", "9", None, "10"]
    assert (
        "one of 2 labels (9, 10), known in 4 records (guessed; --label mood:KIND says otherwise: one_of"
        in found.about[0]
    )
    number = labels_of(rows_of(["10", "9", " 9 ", None, "10"]), ["mood:number"], "here").tasks[0]
    assert number == Number("mood", centre=9.5, scale=0.5)
    assert labels_of(rows_of([[0, 0.5, 1, 1]]), ["mood"], "here").tasks == (Box("mood"),)
    several = labels_of(rows_of(["b|a", "a", ""]), ["mood"], "here")
    assert [row.fields["mood"] for row in several.samples] == [["b", "a"], ["a"], None]


def test_what_cannot_be_learned_says_what_to_type(table, tmp_path):
    for said, options in {
        "no puzzle and no file; the puzzles are sentiment": {"table": tmp_path / "nothing"},
        r"no record has a value in 'mood'; its fields are agree, points": {"label": ("mood",)},
        "which field is to be learned": {"label": ()},
        "expected one of one_of, any_of": {"label": ("agree:choice",)},
        "expected a number": {"label": ("agree:number",)},
        r"columns \['sound'\]: .* has photo, title": {"columns": ("sound",)},
        "expected a share above 0": {"labels": 0.0},
        "Did you mean 'concatenation'": {"kind": "concatination"},
        r"options \['rank'\] of the fusion 'concatenation'; it has: dropout": {"options": ("rank=8",)},
        "--options rank: expected name=value": {"options": ("rank",)},
        "--most 1: expected at least 2 labels": {"most": 1},
    }.items():
        given = {"table": table, "kind": "concatenation", "label": ("agree",)} | options
        with pytest.raises(ValueError, match=said):
            fusion(str(given.pop("table")), given.pop("kind"), folder=tmp_path, progress=False, **given)
    few = rows_of([f"sentence {n}" for n in range(30)])
    with pytest.raises(ValueError, match=r"30 different values in 30 rows, which are no labels.*--most N"):
        labels_of(few, ["mood"], "here")


def test_options_of_a_kind_are_json_or_words(table, tmp_path):
    given = ("rank=2", "size=3", "by=photo", 'groups=[["a","b"],["c"]]', "x=a=b")
    assert options_of(given) == {
        "rank": 2,
        "size": 3,
        "by": "photo",
        "groups": [["a", "b"], ["c"]],
        "x": "a=b",
    }
    options = {"label": ("agree",), "folder": tmp_path, "width": 8, "progress": False}
    run = fusion(str(table), "low_rank", options=("rank=2",), **options)
    assert run.system_args["options"] == {"rank": 2}
    more = fusion(str(table), "low_rank", options=("rank=4",), **options)
    sizes = [sum(p.numel() for p in one.model.fusion.parameters()) for one in (run, more)]
    assert sizes[0] < sizes[1]
    with pytest.raises(ValueError, match="each name once"):
        options_of(("rank=1", "rank=2"))


def test_only_the_most_frequent_labels_are_learned_and_the_rest_is_said():
    rows = rows_of(["a"] * 5 + ["b"] * 4 + ["c"] * 3 + ["d", "e"])
    found = labels_of(rows, ["mood"], "here", most=2)
    assert found.tasks == (OneOf("mood", ["a", "b"]),)
    assert [row.fields["mood"] for row in found.samples] == ["a"] * 5 + ["b"] * 4 + [None] * 5
    assert "one of 2 labels (a, b), known in 9 records" in found.about[0]
    assert "3 rarer answers, of 5 records, are neither trained nor tested on" in found.about[0]
    assert labels_of(rows, ["mood"], "here", most=9).tasks == (OneOf("mood", ["a", "b", "c", "d", "e"]),)
    for n, row in enumerate(rows):  # of training records c and b are the most frequent
        row.fields["split"] = "train" if 6 <= n < 12 else "val"
    assert labels_of(rows, ["mood"], "here", most=1 + 1).tasks == (OneOf("mood", ["b", "c"]),)
    assert labels_of(rows, ["mood:any_of"], "here", most=2).tasks[0].width == 5


def test_a_test_without_answers_gives_way_to_the_validation_or_a_share():
    task, known, blank = OneOf("mood", ["a", "b"]), rows_of(["a", "b"] * 10), rows_of([None] * 4)
    given = {"train": known, "validation": known[:6], "test": blank}
    found, said = answered_splits(given, task, 0.2)
    assert (found["train"], found["test"], found["validation"]) == (known, known[:6], [])
    assert said == ["no test record has an answer, so the validation records are tested on"]
    found, said = answered_splits({**given, "validation": []}, task, 0.2)
    assert [len(found[split]) for split in ("train", "validation", "test")] == [16, 0, 4]
    assert {row.id for row in found["train"]} | {row.id for row in found["test"]} == {row.id for row in known}
    assert "a share of the training records (0.2) is tested on" in said[0]
    full = {"train": known, "validation": blank, "test": known[:4]}
    assert answered_splits(full, task, 0.2) == (full, [])


def test_consistency_draws_what_columns_say_alone_together(table, tmp_path):
    """Told to agree with a great weight, no column says anything but what all of them can."""
    losses = {}
    for weight in (0.0, 50.0):
        run = run_of(table, tmp_path / f"{weight}", consistency=weight, steps=60)
        steps = fit(run).steps
        losses[weight] = [step.get("loss/consistency/agree") for step in steps]
    assert set(losses[0.0]) == {None}
    assert losses[50.0][-1] < 1e-3 < max(losses[50.0])
    with pytest.raises(ValueError, match="--consistency -1"):
        run_of(table, tmp_path / "less", consistency=-1)
