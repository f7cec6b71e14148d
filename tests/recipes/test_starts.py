"""Ways to start: which records, what learns and when, and what the table says."""

import json
from dataclasses import replace

import pytest
import torch
from tiny_towers import Colours

from sensorium.recipes import starts as recipe
from sensorium.recipes import starts_data, starts_table
from sensorium.recipes.few_labels_data import emoji_groups
from sensorium.recipes.starts_data import few_of_each, some_of_each
from sensorium.systems import classifier as classifier_file
from sensorium.training.loop import fit
from sensorium.training.optim import trainable
from sensorium.training.run import TrainingError


class Layered(Colours):
    """A list of layers behind the mean colours, so that there are depths."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(3, 3) for _ in range(2)])

    def forward(self, inputs):
        found = super().forward(inputs)
        for layer in self.blocks:
            found = type(found)(layer(found.tokens), found.mask, layer(found.pooled))
        return found


@pytest.fixture
def small(monkeypatch):
    """Small encoders, and every ninth test drawing."""
    whole = emoji_groups()
    some = whole.samples("test")[::9]
    few = replace(whole, splits={**whole.splits, "test": lambda: some})
    monkeypatch.setattr(recipe, "emoji_groups", lambda: few)
    monkeypatch.setattr(starts_data, "emoji_groups", lambda: few)
    monkeypatch.setitem(classifier_file.ENCODERS, "efficientnet_lite0", lambda **options: Layered())
    monkeypatch.setitem(classifier_file.UNTRAINED, "efficientnet_lite0", lambda **options: Layered())


def test_the_fewer_are_part_of_the_more():
    few, more = (few_of_each(shots, "image", 0).samples("train") for shots in (2, 5))
    assert [len(few), len(more)] == [16, 40]
    assert {sample.id for sample in few} < {sample.id for sample in more}
    groups = [sample.fields["group"] for sample in few]
    assert {group: groups.count(group) for group in groups} == dict.fromkeys(set(groups), 2)
    assert len(set(groups)) == 8
    assert {s.id for s in few} != {s.id for s in few_of_each(2, "image", 1).samples("train")}


def test_training_and_test_share_neither_artist_nor_thing():
    data = few_of_each(8, "text", 0)
    train, test = data.samples("train"), data.samples("test")
    assert not {s.fields["artist"] for s in train} & {s.fields["artist"] for s in test}
    assert not {s.fields["thing"] for s in train} & {s.fields["thing"] for s in test}
    assert len(test) == 454
    assert len({s.fields["thing"] for s in train}) == len(train)  # a name stands once
    with pytest.raises(ValueError, match="--shots 9999"):
        some_of_each(emoji_groups().samples("train"), data.tasks[0], 9999, 0)


@pytest.mark.parametrize("way", ["probe", "full", "layerwise", "gradual", "untrained_probe", "scratch"])
def test_what_learns_and_how_fast(tmp_path, small, way):
    run = recipe.starts(
        way, shots=2, folder=tmp_path / "run", steps=9, progress=False, cache=tmp_path / "cache"
    )
    lr, last, first, scale = recipe.ENCODER_LR["image"], "blocks.1", "blocks.0", "scale"
    part = "encoders.image."
    assert dict(run.part_lr) == pytest.approx(
        {
            "layerwise": {part + last: lr, part + first: 0.75 * lr, part + scale: 0.75**2 * lr},
            "probe": {},
            "untrained_probe": {},
        }.get(way, {"encoders.image": lr})
    )
    gradual = {part + last: 1, part + first: 2, part + scale: 3}  # nine steps, three depths
    assert dict(run.thaw) == (gradual if way == "gradual" else {})
    trained = fit(run)
    names = {name.split(".")[0] for name in trainable(trained.model)}
    assert names == ({"heads"} if "probe" in way else {"heads", "encoders"})
    said = json.loads((tmp_path / "run" / "answers.json").read_text())
    score = trained.scores["group.accuracy"]
    right = sum(given == right for given, right in zip(said["given"], said["right"], strict=True))
    assert score["value"] == pytest.approx(right / 51)
    assert score["majority"] == pytest.approx(said["right"].count("people-body") / 51)
    assert score["blind_shuffled"] is not None


def test_prompts_need_a_space_and_gradual_needs_steps(tmp_path, small):
    with pytest.raises(ValueError, match="name its run with --space"):
        recipe.starts("prompts", folder=tmp_path)
    with pytest.raises(TrainingError, match="every=0"):
        recipe.starts("gradual", shots=2, folder=tmp_path, steps=4, progress=False)


def test_the_table_reads_what_was_trained(tmp_path, monkeypatch, capsys):
    asked = []

    def recorded(way, shots, folder, **options):
        asked.append((way, shots, options["seed"]))
        right = {"probe": [1, 0, 0, 0], "full": [1, 1, 1, 1], "scratch": [1, 0, 0, 0]}[way]
        return {"right": 20 * right, "blind": 0.1 * shots, "majority": 0.25, "learned": 7}

    monkeypatch.setattr(starts_table, "trained", recorded)
    cells = starts_table.compare_starts(tmp_path, ways=("scratch", "full"), shots=(2, 8), seeds=2)
    assert list(cells) == ["probe", "full", "scratch"]
    assert asked[:3] == [("probe", 2, 0), ("full", 2, 0), ("scratch", 2, 0)]
    assert len(asked) == 12
    assert cells["full"][8].over.value == pytest.approx(0.75)
    assert cells["probe"][8].over is None
    printed = capsys.readouterr().out
    assert "100.0 (100.0 … 100.0)" in printed
    assert "= 25.0 (" in printed  # scratch answers as the probe does
    assert "80 drawings" in printed
    written = json.loads((tmp_path / "starts.json").read_text())
    assert written["ways"]["full"]["2"]["value"] == 1.0
    assert written["ways"]["full"]["8"]["blind_shuffled"] == pytest.approx(0.8)
    assert (tmp_path / "starts.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="--ways fine"):
        starts_table.compare_starts(tmp_path, ways=("fine",))


def test_a_finished_run_is_read(tmp_path):
    (tmp_path / "starts.json").write_text(json.dumps({"right": [1], "learned": 3}))
    assert starts_table.trained("full", 2, tmp_path) == {"right": [1], "learned": 3}


def test_a_space_that_is_not_there_is_told_before_anything_is_trained(tmp_path):
    with pytest.raises(ValueError, match="not a checkpoint"):
        starts_table.compare_starts(tmp_path / "runs", space=tmp_path / "none")
    assert not (tmp_path / "runs").exists()
