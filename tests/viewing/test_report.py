"""The page as a browser would read it: which elements it has, and what they say."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from PIL import Image

from sensorium.evaluation import GeneratedScore, Score
from sensorium.media import Audio
from sensorium.viewing import report
from sensorium.viewing.report import Asked, Example, Examples, Gallery, Gap, Map, Said, Search, Shown

EVIL = "<script>alert('x')</script><img src=http://evil.example/a.png onerror=alert(1)>\"'&"
R1 = Score(0.51, 0.48, 0.54, 0.001, 1382, 0.0007, 0.45)
NAME = "emoji.unseen_artist.text_to_image.R@1"
THERE = GeneratedScore(
    0.8,
    0.75,
    0.85,
    1200,
    0.5,
    0.55,
    0.45,
    0.9,
    0.6,
    0.25,
    0.2,
    0.3,
    "blind_shuffled",
    note="how it was measured",
)


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict]] = []
        self.said: list[str] = []
        self.within: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.within.append(tag)

    def handle_endtag(self, tag):
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"style", "script"} & set(self.within):
            self.said.append(data)

    def every(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


def read(path) -> Reader:
    return Reader(path.read_text("utf-8"))


def colour(*rgb: int) -> np.ndarray:
    return np.full((40, 60, 3), rgb, np.uint8)


def decoded(uri: str) -> bytes:
    return base64.b64decode(uri.partition(";base64,")[2])


def whole(folder, text: str = "plain"):
    """A report with every section, `text` wherever a text can stand."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 8))
    sound = Audio(np.sin(np.arange(4000) / 9).astype(np.float32), 16000)
    query = Shown(text, picture=colour(9, 9, 200))
    answers = [Shown(text, colour(200, 9, 9), right=True, score=0.9), Shown(text, right=False)]
    searches = [
        Search(Shown(text), answers, text),
        Search(query, answers),
        Search(Shown(text, sound=sound), answers),
    ]
    said = Said(text, right=True)
    asked = [
        Asked(text, text, said, {text: Said(text, right=False)}),
        Asked(text, text, Said(text), {"b": said}),
    ]
    return report.write(
        folder / "runs" / "report.html",
        text,
        lead=text,
        facts={text: text},
        history=[{"step": 1, "loss": 2.0, f"loss/{text}": 1.0, "loss/b": 1.0}, {"step": 2, "loss": 1.0}],
        scores={f"{text}.{text}.R@1": R1, "median_rank": Score(3, 2, 4, 70, 9, 71, unit="rank")},
        galleries=[Gallery(text, searches, text)],
        maps=[Map(text, vectors, [text] * 30, [text] * 30, [colour(1, 2, 3)] * 5 + [None] * 25, text, "pca")],
        gaps=[Gap(text, vectors, vectors, np.stack([np.arange(30)] * 2, 1), (text, text), {text: 0.5})],
        generated={
            f"{text}.{text}.{text}": replace(THERE, note=text),
            "CIDEr": replace(THERE, unit="points"),
        },
        examples=[Examples(text, [Example(Shown(text), asked)], text)],
    )


def test_texts_are_shown_as_texts_wherever_they_stand(tmp_path) -> None:
    plain, evil = read(whole(tmp_path / "a")), read(whole(tmp_path / "b", EVIL))
    assert [tag for tag, _ in evil.tags] == [tag for tag, _ in plain.tags]
    assert [sorted(attributes) for _, attributes in evil.tags] == [sorted(a) for _, a in plain.tags]
    assert len(evil.every("script")) == 1
    shown = sum(
        text.count("<script>alert(") for text in [*evil.said, *(a.get("title", "") for _, a in evil.tags)]
    )
    assert shown >= 15


def test_nothing_is_requested_and_only_our_script_may_run(tmp_path) -> None:
    path = whole(tmp_path)
    page, text = read(path), path.read_text("utf-8")
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "data:").startswith(("data:", "#")), (tag, attributes)
    assert not re.search(r"url\(|@import|https?://", text)
    policy = page.every("meta")[1]["content"]
    script = re.search(r"<script>(.*?)</script>", text, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}';" in policy
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_pictures_and_sounds_are_inside_and_can_be_read_back(tmp_path) -> None:
    page = read(whole(tmp_path))
    pictures = [Image.open(io.BytesIO(decoded(image["src"]))).convert("RGB") for image in page.every("img")]
    assert len(pictures) == 4  # one answer for each of three queries, one query
    assert {picture.size for picture in pictures} == {(60, 40)}
    reds = [picture for picture in pictures if picture.getpixel((30, 20))[0] > 150]
    assert len(reds) == 3
    samples, rate = soundfile.read(io.BytesIO(decoded(page.every("audio")[0]["src"])))
    assert (len(samples), rate) == (4000, 16000)
    assert samples == pytest.approx(np.sin(np.arange(4000) / 9), abs=1e-3)


def test_scores_show_value_interval_blind_closed_form_chance_and_n(tmp_path) -> None:
    low = Score(0.02, 0.0, 0.05, 0.01, 40, 0.01)
    path = report.write(
        tmp_path / "r.html", "T", scores={NAME: R1, "emoji.unseen_artist.text_to_image.MRR": low}
    )
    text = read(path).text
    assert "emoji · unseen artist" in text
    assert "text → image R@1 51.0 48.0 – 54.0 0.1 45.0 0.1 1,382" in text
    assert "MRR = 2.0 0.0 – 5.0 1.0 – 1.0 40" in text  # not above its blind baseline


def test_bars_are_drawn_to_scale(tmp_path) -> None:
    page = read(report.write(tmp_path / "r.html", "T", scores={NAME: R1}, headline=[]))
    fill = next(a for a in page.every("rect") if a["class"] == "fill")
    assert float(fill["width"]) / 230 == pytest.approx(0.51, abs=0.001)
    paths = {a["class"]: a["d"] for a in page.every("path")}
    ends = [float(n) / 230 for n in re.findall(r"M([\d.]+) 5v6", paths["interval"])]
    assert ends == pytest.approx([0.48, 0.54], abs=0.001)
    assert float(re.match(r"M([\d.]+)", paths["closed"])[1]) / 230 == pytest.approx(0.45, abs=0.001)
    assert float(re.match(r"M([\d.]+)", paths["blind"])[1]) / 230 == pytest.approx(0.001, abs=0.001)


def test_headline_is_what_was_asked_for_or_the_first_of_rank_one(tmp_path) -> None:
    scores = {NAME: R1, "emoji.unseen_artist.text_to_image.R@5": R1}
    by_default = read(report.write(tmp_path / "a.html", "T", scores=scores))
    assert [a["class"] for a in by_default.every("div")].count("tile") == 1
    asked = read(report.write(tmp_path / "b.html", "T", scores=scores, headline=list(scores)))
    assert [a["class"] for a in asked.every("div")].count("tile") == 2
    with pytest.raises(ValueError, match=r"got R@7; there are emoji\.unseen_artist"):
        report.write(tmp_path / "c.html", "T", scores=scores, headline=["R@7"])


def test_right_answers_are_marked_and_others_are_not(tmp_path) -> None:
    answers = [Shown("a", colour(1, 1, 1), right=True), Shown("b", colour(1, 1, 1), right=False), Shown("c")]
    page = read(
        report.write(tmp_path / "r.html", "T", galleries=[Gallery("G", [Search(Shown("q"), answers)])])
    )
    assert [a["class"] for a in page.every("li")] == ["right", "wrong", ""]
    assert page.text.count("✓") == 2  # the note that explains it, and the one right answer


def test_history_is_read_from_the_file_that_training_writes(tmp_path) -> None:
    lines = [{"step": n, "loss": 5 / n, "loss/info_nce": 5 / n, "lr": 0.1} for n in range(1, 1001)]
    lines[500:500] = [{"step": 500, "scores": {NAME: {"value": 0.4}}}]
    lines.append({"step": 1000, "scores": {NAME: {"value": 0.5}}})
    history = tmp_path / "history.jsonl"
    history.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 1001, "lo')
    page = read(report.write(tmp_path / "r.html", "T", history=history))
    plots = [a["aria-label"] for a in page.every("svg") if a.get("class") == "plot"]
    assert plots == ["Loss", "Scores during training"]
    loss, scores = (a["points"].split() for a in page.every("polyline"))
    assert len(loss) == 240  # a thousand steps are thinned
    assert len(scores) == 2
    heights = [float(point.split(",")[1]) for point in loss]
    assert heights == sorted(heights)  # the loss falls: y grows downwards
    assert "info nce" not in page.text  # one loss needs no legend


def test_sections_that_have_nothing_are_left_out_and_the_file_is_replaced(tmp_path) -> None:
    path = tmp_path / "r.html"
    path.write_text("old")
    assert report.write(path, "Only a title") == path
    page = read(path)
    assert page.every("section") == []
    assert "Only a title" in page.text
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_a_map_places_pictures_apart_and_dots_for_the_rest(tmp_path) -> None:
    points = np.array([[0.0, 0.0], [0.001, 0.0], [1.0, 1.0], [0.5, 0.5]])
    map_ = Map(
        "M", points, ["a", "a", "b", "b"], ["one", "two", "three", "four"], [colour(1, 1, 1)] * 3 + [None]
    )
    page = read(report.write(tmp_path / "r.html", "T", maps=[map_]))
    images = [(float(a["x"]) + 20, float(a["y"]) + 20) for a in page.every("image")]
    dots = [(float(a["cx"]), float(a["cy"])) for a in page.every("circle")]
    assert (len(images), len(dots)) == (2, 2)  # the second picture would cover the first
    assert images[0][0] < images[1][0]
    assert images[0][1] > images[1][1]  # y grows upwards
    assert dots[1] == pytest.approx(np.mean(images, axis=0), abs=8)
    with pytest.raises(ValueError, match="got 3 labels for 4 vectors"):
        Map("M", points, ["a"] * 4, ["x"] * 3)


def test_the_gap_joins_pairs_and_counts_all_cosines(tmp_path) -> None:
    first, second = np.tile([1.0, 0.0], (10, 1)), np.tile([0.6, 0.8], (10, 1))
    pairs = np.stack([np.arange(10)] * 2, 1)
    numbers = {"distance": 0.894}
    page = read(
        report.write(
            tmp_path / "r.html", "T", gaps=[Gap("G", first, second, pairs, ("text", "image"), numbers)]
        )
    )
    assert len([a for a in page.every("path") if a.get("class") == "join"]) == 10
    assert "distance 0.894" in page.text
    with pytest.raises(ValueError, match="expected int64"):
        Gap("G", first, second, np.zeros((0, 2), int), ("a", "b"))


def test_what_is_no_picture_is_refused(tmp_path) -> None:
    for wrong in (b"GIF89a", np.zeros((4, 4)), SimpleNamespace()):
        gallery = Gallery("G", [Search(Shown("q", picture=wrong), [])])
        with pytest.raises(ValueError, match="picture: got"):
            report.write(tmp_path / "r.html", "T", galleries=[gallery])


def test_generated_scores_stand_beside_every_baseline_with_their_margin(tmp_path) -> None:
    scores = {
        "scenes.test.accuracy": THERE,
        "scenes.test.left_of.accuracy": replace(
            THERE, value=0.5, low=0.4, high=0.58, copy=0.3, names_only=None
        ),
        "stamps.fr.WER": GeneratedScore(
            1.2, 1.1, 1.3, 9, 0.9, margin=-0.3, margin_low=-0.4, margin_high=-0.1, unit="error"
        ),
        "stamps.caption.CIDEr": GeneratedScore(0.85, 0.8, 0.9, 40, unit="points"),
    }
    page = read(report.write(tmp_path / "r.html", "T", generated=scores))
    assert (
        "scenes · test all accuracy 80.0 75.0 – 85.0 50.0 55.0 45.0 60.0 90.0 +25.0 (20.0 … 30.0) 1,200"
        in page.text
    )
    assert "left of accuracy = 50.0 40.0 – 58.0 50.0 55.0 45.0 – 30.0" in page.text
    assert "fr WER ↓ = 120.0 110.0 – 130.0 90.0 – – – – −30.0 (−40.0 … −10.0) 9" in page.text
    assert "caption CIDEr 0.85 0.80 – 0.90 – – – – – – 40" in page.text
    assert page.text.count("how it was measured") == 1
    cells = [a["class"] for a in page.every("td") if "rival" in a.get("class", "")]
    assert cells == ["n rival"]  # the one copy that is better than the model
    tiles = [a["class"] for a in page.every("div")].count("tile")
    assert tiles == 4  # accuracy, accuracy, WER, CIDEr
    assert "blind 55.0 · nearest copy 90.0" in page.text


def test_margins_over_the_copy_have_a_column_where_there_are_any(tmp_path) -> None:
    copied = replace(THERE, copy_margin=-0.1, copy_margin_low=-0.15, copy_margin_high=0.05)
    page = read(report.write(tmp_path / "r.html", "T", generated={"a.accuracy": copied, "b.accuracy": THERE}))
    assert "margin over best blind margin over copy n" in page.text
    assert "+25.0 (20.0 … 30.0) = −10.0 (−15.0 … 5.0) 1,200" in page.text
    assert "+25.0 (20.0 … 30.0) – 1,200" in page.text
    assert [a["title"] for a in page.every("abbr")].count("not shown to be better than the copy") == 1


def test_bars_of_generated_scores_mark_the_best_blind_the_copy_and_names_only(tmp_path) -> None:
    page = read(report.write(tmp_path / "r.html", "T", generated={"a.b.accuracy": THERE}, headline=[]))
    starts = {a["class"]: re.match(r"M([\d.]+)", a["d"]) for a in page.every("path")}
    drawn = {kind: float(start[1]) / 230 for kind, start in starts.items() if start}
    assert drawn == pytest.approx(
        {"blind": 0.55, "reference": 0.6, "interval": 0.75, "closed": 0.9}, abs=0.001
    )
    wide = read(
        report.write(tmp_path / "w.html", "T", generated={"a.WER": replace(THERE, value=1.4, unit="error")})
    )
    assert (
        next(a for a in wide.every("rect") if a["class"] == "fill")["width"] == "230"
    )  # no wider than 100 %
    with pytest.raises(ValueError, match="got c; there are"):
        report.write(tmp_path / "r.html", "T", generated={"a.b.accuracy": THERE}, headline=["c"])


def test_baselines_that_no_score_has_get_no_column(tmp_path) -> None:
    score = GeneratedScore(0.8, 0.75, 0.85, 10, blind_withheld=0.5)
    text = read(report.write(tmp_path / "r.html", "T", generated={"accuracy": score})).text
    assert "media withheld" in text
    assert "majority answer" not in text
    assert "names only" not in text


def test_examples_show_the_picture_once_beside_its_questions_and_mark_answers(tmp_path) -> None:
    asked = [
        Asked("colour?", "red", Said("red", True), {"blind": Said("blue", False)}),
        Asked("count?", "two", Said(" ", False), {"copy": Said("two", True)}),
    ]
    caption = Asked("describe", "a red box", Said("a box"))
    some = [Example(Shown(picture=colour(200, 9, 9)), asked), Example(Shown("words"), [caption])]
    page = read(report.write(tmp_path / "r.html", "T", examples=[Examples("E", some, "at random")]))
    assert len(page.every("img")) == 1
    assert [a["rowspan"] for a in page.every("td") if "rowspan" in a] == ["2", "1"]
    assert [a["title"] for a in page.every("span") if a.get("class") == "verdict"] == [
        "right",
        "wrong",
        "wrong",
        "right",
    ]
    assert "question right answer model blind copy" in page.text
    assert "colour? red ✓ red ✗ blue –" in page.text
    assert "count? two ✗ (nothing) – ✓ two" in page.text
    assert "describe a red box a box – –" in page.text
    with pytest.raises(ValueError, match="number 1 has no question"):
        report.write(tmp_path / "r.html", "T", examples=[Examples("E", [some[0], Example(Shown("x"), [])])])
