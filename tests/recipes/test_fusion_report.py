"""The page about a fusion run: what it holds, and the numbers that are worked out for it."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_towers
import torch
from PIL import Image

from sensorium.data.sample import Sample
from sensorium.media import Audio, Video
from sensorium.recipes.fusion import fusion
from sensorium.recipes.fusion_attention import _figure, chosen, looked_at, share_inside
from sensorium.recipes.fusion_media import boxed, corners, shown, strip
from sensorium.recipes.fusion_report import _said, _told, answer_text, labels_for
from sensorium.tasks import AnyOf, Box, Number, OneOf
from sensorium.training.loop import fit
from sensorium.viewing import scatter
from sensorium.viewing.attention_maps import Word
from sensorium.viewing.report import Said, Shown


@pytest.fixture(autouse=True)
def towers(monkeypatch, tmp_path):
    tiny_towers.put_in(monkeypatch)
    monkeypatch.setattr(scatter, "panels", lambda: ("pca", "lda"))  # UMAP takes long to start
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))


def table(folder: Path) -> str:
    """Bright and dark pictures, whose words say it too; what to learn is a mood, a brightness."""
    folder.mkdir()
    with (folder / "rows.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["photo", "title", "mood", "light"])
        for n in range(80):
            Image.fromarray(np.full((8, 8, 3), 250 if n % 2 else n, np.uint8)).save(folder / f"{n}.png")
            writer.writerow([f"{n}.png", "bright" if n % 2 else "dark", "glad" if n % 2 else "sad", 1.5 * n])
    return str(folder / "rows.csv")


@pytest.mark.parametrize(("kind", "label"), [("gated", "mood"), ("cross_attention", "light")])
def test_the_page_holds_what_the_run_is(tmp_path, kind, label):
    run = fusion(
        table(tmp_path / "data"), kind, label=(label,), folder=tmp_path, steps=3, width=8, progress=False
    )
    page = run.report(fit(run))
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "report.html"
    assert text.count('<tbody><tr><td class="media"') == 10  # of the 16 test rows
    metric = {"mood": "accuracy", "light": "mae"}[label]
    assert metric in text.lower()
    assert text.count("without photo") > 1
    assert text.count("without title") > 1
    assert ("gates by row" in text) == (kind == "gated")
    assert (tmp_path / "gates.png").is_file() == (kind == "gated")
    assert "fused vectors by several" in text
    assert (
        fusion(
            table(tmp_path / "more"), kind, label=(label,), folder=tmp_path, report=False, progress=False
        ).report
        is None
    )


def test_what_is_said_and_whether_it_is_right():
    two, three = OneOf("x", ["no", "yes"]), OneOf("x", ["a", "b", "c", "d"])
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    assert _said(two, torch.tensor([0.2, 0.8]).log(), "no", 3) == Said("yes: 80\xa0%", False)
    assert _said(three, logits, "a", 3) == Said("a: 40\xa0% · b: 30\xa0% · c: 20\xa0%", True)
    assert _said(three, logits, "a") == Said("a: 40\xa0%", True)
    sure = torch.tensor([0.985, 0.014, 0.0006, 0.0004]).log()
    assert _said(three, sure, "a", 3).text == "a: 98\xa0% · b: 1\xa0%"
    several = AnyOf("x", ["a", "b", "c"])
    outputs = torch.tensor([0.9, 0.2, 0.6]).logit()
    assert _said(several, outputs, ["c", "a"]) == Said("a: 90\xa0% · c: 60\xa0%", True)
    assert _said(several, -torch.ones(3), ["a"]) == Said("none", False)
    assert _said(Number("x", centre=2.0), torch.tensor([0.5]), 9.0) == Said("2.5", None)
    box = Box("x")
    outputs = torch.tensor([0.5, 0.5, 0.4, 0.4]).logit()
    assert _said(box, outputs, (0.5, 0.5, 0.4, 0.2)) == Said("0.50, 0.50, 0.40, 0.40; overlap 50\xa0%", True)
    assert _said(box, outputs, (0.5, 0.5, 0.4, 0.19)).right is False


def test_scores_of_the_table():
    tasks = [Number("my.points"), OneOf("mood", ["a", "b"])]
    names = [
        "mood.accuracy",
        "mood.macro_f1",
        "mood.without_the.text.accuracy",
        "mood.without_the.text.macro_f1",
    ]
    names += ["my.points.pearson", "my.points.only_a.pearson", "my.points.only_a.mae"]
    assert [name for name in names if _told(name, tasks)] == [*names[:3], names[4], names[6]]


def test_the_share_of_attention_inside_a_box():
    even = np.ones(49) / 49
    assert share_inside(even, (0.3, 0.6, 0.25, 0.5)) == pytest.approx(0.25 * 0.5)
    one = np.zeros(16)
    one[1 * 4 + 2] = 0.5  # second row, third column: x 0.5 … 0.75, y 0.25 … 0.5
    assert share_inside(one, (0.625, 0.375, 0.25, 0.25)) == pytest.approx(1.0)
    assert share_inside(one, (0.5, 0.375, 0.25, 0.25)) == pytest.approx(0.5)  # half of the cell
    assert share_inside(one, (0.375, 0.625, 0.25, 0.25)) == 0.0
    assert share_inside(np.zeros(16), (0.5, 0.5, 1, 1)) is None
    assert share_inside(np.ones(15), (0.5, 0.5, 1, 1)) is None  # no square


def test_words_of_a_text_that_are_drawn():
    words = [
        Word(text, (n,))
        for n, text in enumerate(
            ["[CLS]", "Which", "of", "part", "shows", "the", "pineapple", "in", "?", "[SEP]"]
        )
    ]
    assert [word.text for word in chosen(words)] == ["Which", "part", "shows", "pineapple"]
    assert [word.text for word in chosen([*words, Word("aeroplane", (10,))])][-2:] == [
        "pineapple",
        "aeroplane",
    ]


def test_media_are_shown_as_what_they_are():
    clip = Video(np.stack([np.full((8, 12, 3), n, np.uint8) for n in range(8)]), np.arange(8.0))
    assert [int(strip(clip)[y, x, 0]) for y, x in ((4, 6), (4, 18), (12, 6), (12, 18))] == [0, 2, 5, 7]
    assert (strip(clip)[0] == 255).all()
    sound = Audio(np.zeros(16_000 * 20, np.float32), 16_000)
    sample = Sample("a", {"clip": clip, "sound": sound, "text": "x" * 500}, {})
    assert shown(sample, "clip").picture.shape == (16, 24, 3)
    assert len(shown(sample, "sound").sound.samples) == 16_000 * 8
    assert len(shown(sample, "text").text) == 401
    assert shown(sample, "nothing") is None


def test_attention_over_a_clip_is_laid_out_as_its_frames():
    clip = Video(np.zeros((3, 8, 8, 3), np.uint8), np.arange(3.0))
    sample = Sample("a", {"clip": clip}, {"clip": "video"})
    shown_map = _figure(None, sample, "clip", {"the whole": np.array([0.5, 0.2, 0.3])})
    assert shown_map.picture.shape == (16, 16, 3)
    assert shown_map.maps["the whole"].tolist() == [[0.5, 0.2], [0.3, 0.0]]
    assert _figure(None, sample, "clip", {"the whole": np.ones(4)}) is None  # not one a frame


def test_boxes_are_drawn_where_they_are():
    assert corners((0.5, 0.25, 0.5, 0.5), 101, 101) == pytest.approx((25, 0, 75, 50))
    assert corners((1.0, 0.5, 0.5, -0.5), 101, 101) == pytest.approx((75, 25, 100, 75))
    white = Shown(picture=np.full((50, 50, 3), 255, np.uint8))
    [_, drawn] = boxed([Shown("words"), white], (0.25, 0.25, 0.4, 0.4), (0.75, 0.75, 0.4, 0.4))
    found = {tuple(pixel) for pixel in drawn.picture.reshape(-1, 3).tolist()}
    assert found == {(255, 255, 255), (34, 160, 84), (240, 120, 20)}
    assert tuple(drawn.picture[12, 50].tolist()) == (34, 160, 84)  # the right box's upper edge


def test_answers_as_words_and_rows_as_groups():
    assert answer_text([0.5, 0.25, 1, 1]) == "0.50, 0.25, 1.00, 1.00"
    assert (answer_text(["a", "b"]), answer_text([]), answer_text(1.23456), answer_text("yes")) == (
        "a, b",
        "none",
        "1.23",
        "yes",
    )

    def rows(answers):
        return [Sample(str(n), {}, {}, fields={"x": answer}) for n, answer in enumerate(answers)]

    assert labels_for(OneOf("x", ["a", "b"]), rows(["a", None])) == ["a", "unknown"]
    assert labels_for(AnyOf("x", ["a", "b"]), rows([["a", "b"], ["a"], []])) == ["b", "a", "unknown"]
    assert labels_for(Number("x"), rows([0.0, 5.0, 10.0]))[::2] == ["lowest fifth", "highest fifth"]
    boxes = [(0.2, 0.2, 0.1, 0.1), (0.8, 0.7, 0.1, 0.1), None]
    assert labels_for(Box("x"), rows(boxes)) == ["upper left", "lower right", "unknown"]


def test_a_box_run_says_where_it_looked():
    weights = torch.zeros(2, 3, 4)
    weights[:, :2, 1] = 0.5  # the upper right cell, by the two real words
    weights[:, 2] = 9.0  # padding
    maps = {"text→image": weights, "image→text": weights, "bottleneck→image": weights}
    masks = {"image": torch.ones(2, 4, dtype=torch.bool), "text": torch.tensor([[True, True, False]] * 2)}
    output = SimpleNamespace(
        fused=SimpleNamespace(attention=maps),
        columns={name: SimpleNamespace(mask=mask) for name, mask in masks.items()},
    )

    class Model:
        fusion, columns = SimpleNamespace(reads_tokens=True, keep_attention=False), ("image", "text")

        def __init__(self):
            self.by_column = {"image": tiny_towers.Colours(), "text": tiny_towers.Letters()}

        def __call__(self, batch):
            assert self.fusion.keep_attention
            return output

    model = Model()
    rows = SimpleNamespace(fields={"where": [(0.75, 0.25, 0.5, 0.5), (0.5, 0.5, 0.5, 1.0)]})
    assert looked_at(model, [rows], Box("where")) == {
        "attention text→image in the right box": "75.0 % (the box covers 37.5 %)"
    }
    assert model.fusion.keep_attention is False
