"""What stands behind the page: its files and words, and each tab's own routes, on small models."""

import asyncio
import io
import re
from importlib.resources import files
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tiny_served import COLOURS, png

from sensorium.evaluation.modality_gap import modality_gap
from sensorium.evaluation.retrieval import Embedded
from sensorium.facade.looking import look
from sensorium.media import Source
from sensorium.serving.api import create_app
from sensorium.serving.page.explore import SPRITE, across, placed
from sensorium.serving.page.reports import written
from sensorium.serving.page.shell import LOOK, language_of
from sensorium.serving.page.words import LANGUAGES, WORDS
from sensorium.serving.settings import Settings

HERE = files("sensorium.serving.page").joinpath("look")


@pytest.fixture
def client(served) -> TestClient:
    return TestClient(create_app(served))


# ---- files and words --------------------------------------------------------------------------------------


def test_the_page_lets_nothing_else_in(client):
    page = client.get("/", headers={"Accept-Language": "de, zh-CN;q=0.8, en;q=0.7"})
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert '<html lang="zh">' in page.text
    assert ">搜索</button>" in page.text
    assert "{" + "language}" not in page.text
    sources = page.text + "".join(HERE.joinpath(name).read_text() for name in LOOK)
    assert set(re.findall(r"https?://[^\s\"'`<)]+", sources)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<[^>]+\sstyle=|<script>|\son\w+=", page.text)


def test_files_are_known_by_name_and_come_again_only_when_they_changed(client):
    first = client.get("/page/look/shell.js")
    assert first.headers["content-type"].startswith("text/javascript")
    assert first.text == HERE.joinpath("shell.js").read_text()
    again = client.get("/page/look/shell.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("words.py", "..%2fwords.py", "%2e%2e/words.py", "index.html"):
        assert client.get(f"/page/look/{name}").status_code == 404


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("zh", "zh"),
        ("fr-FR, fr", "en"),
        ("en;q=0.3, zh-TW;q=0.9", "zh"),
        ("en-GB, zh", "en"),
        ("zh;q=x,en", "zh"),
    ],
)
def test_the_language_is_the_one_that_is_wanted_most(accepted, language):
    assert language_of(accepted) == language


def test_every_word_is_there_in_both_languages():
    for key, said in WORDS.items():
        assert set(said) == set(LANGUAGES), key
        assert all(text.strip() for text in said.values()), key
        holes = [set(re.findall(r"\{(\w+)\}", text)) for text in said.values()]
        assert holes[0] == holes[1], key


def test_every_word_that_the_page_says_is_known():
    said = set(re.findall(r'data-word(?:-[a-z-]+)?="([\w.]+)"', HERE.joinpath("index.html").read_text()))
    for name in LOOK:
        text = HERE.joinpath(name).read_text()
        said |= set(re.findall(r'say\("([\w.]+)"', text))
        said |= set(re.findall(r'"?word(?:-[a-z-]+)?"?: "([\w.]+)"', text))
        said |= set(re.findall(r'(?:choice|teach)\("([\w.]+)"', text))
    assert len(said) > 60
    assert said - set(WORDS) == set()


# ---- what is served ---------------------------------------------------------------------------------------


def test_what_is_served_is_told_without_paths(client):
    told = client.get("/page/served").json()
    assert [(one["name"], one["task"]) for one in told["models"]] == [
        ("talker", "chat"), ("colours", "embedding"), ("moods", "classification"),
    ]  # fmt: skip
    [squares] = told["indexes"]
    assert squares["rows"] == 10
    assert squares["choices"] == {"bright": [False, True], "colour": sorted(COLOURS)}
    assert {one["id"] for one in squares["examples"]} == {f"{name}-{n}" for name in COLOURS for n in (0, 1)}
    assert "/squares" not in str(told)


# ---- ask --------------------------------------------------------------------------------------------------


def test_a_look_is_the_facades(client, made):
    data = png("blue", 3)
    url = "data:image/png;base64," + __import__("base64").b64encode(data).decode()
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "who"}]
    asked = {"model": "talker", "messages": [{"role": "user", "content": parts}], "answer": "a cat"}
    [drawn] = client.post("/page/look", json=asked).json()["media"]
    source = Source("image", data=data)
    own = [{"role": "user", "content": [{"type": "image", "image": source}, {"type": "text", "text": "who"}]}]
    [seen] = look(made.assistant, own, "a cat")
    assert (drawn["words"], drawn["shape"], drawn["fit"]) == (["a", "cat"], [6], "stretch")
    np.testing.assert_allclose(drawn["lost"], seen.lost, atol=1e-4)
    np.testing.assert_allclose(drawn["blind"], seen.blind, atol=1e-4)


def test_a_look_that_cannot_be_is_an_error_in_words(client):
    asked = {"messages": [{"role": "user", "content": "who"}], "answer": "me"}
    refused = client.post("/page/look", json=asked)
    assert refused.status_code == 400
    assert "no picture and no sound" in refused.json()["error"]["message"]
    assert client.post("/page/look", json=asked | {"model": "colours"}).status_code == 404


def test_scenes_are_drawn_to_ask_about(client):
    scene = client.get("/page/scene?number=3")
    assert Image.open(io.BytesIO(scene.content)).size == (224, 224)
    assert client.get("/page/scene?number=3").content == scene.content
    assert client.get("/page/scene?number=4").content != scene.content
    assert client.get("/page/scene?number=-1").status_code in (400, 422)


# ---- explore ----------------------------------------------------------------------------------------------


def test_the_map_puts_like_beside_like(client):
    drawn = client.get("/page/map?index=squares").json()
    assert (drawn["total"], drawn["method"], len(drawn["ids"])) == (10, "PCA", 10)
    places = dict(zip(drawn["ids"], np.array(drawn["points"])))
    for name in COLOURS:
        twin = np.linalg.norm(places[f"{name}-0"] - places[f"{name}-1"])
        others = [
            np.linalg.norm(places[f"{name}-0"] - places[f"{other}-0"]) for other in COLOURS if other != name
        ]
        assert 5 * twin < min(others)
    assert drawn["groups"]["colour"] == [id.split("-")[0] for id in drawn["ids"]]
    assert client.get("/page/map?index=none").status_code == 404


def test_thumbnails_lie_on_the_sheet_where_the_map_says(client):
    ids = client.get("/page/map").json()["ids"]
    sheet = np.asarray(Image.open(io.BytesIO(client.get("/page/sprites").content)).convert("RGB")).astype(int)
    assert sheet.shape == (-(-10 // across(10)) * SPRITE, across(10) * SPRITE, 3)
    for n, id in enumerate(ids):
        row, column = divmod(n, across(10))
        middle = sheet[row * SPRITE + SPRITE // 2, column * SPRITE + SPRITE // 2]
        assert np.abs(middle - COLOURS[id.split("-")[0]]).max() < 40


def test_the_gap_is_that_of_the_evaluation(client, made):
    gap = client.get("/page/gap").json()
    assert gap["names"] == ["image", "captions"]
    pictures = [f"{name}-{mark}" for name in COLOURS for mark in (0, 1)]
    vectors = made.space.embed(
        "image", [Source("image", data=png(*id.split("-")[:1], int(id[-1]))) for id in pictures]
    )
    words = [f"a {name} square" for name in COLOURS]
    first = Embedded(vectors, [(f"a {id.split('-')[0]} square",) for id in pictures])
    expected = modality_gap(
        first, Embedded(made.space.embed("text", words), [(one,) for one in words])
    ).as_dict()
    for name in ("distance", "matched", "unmatched"):
        assert gap["numbers"][name] == pytest.approx(expected[name], abs=1e-3), name
    assert gap["numbers"]["matched"] > gap["numbers"]["unmatched"] + 0.1
    assert sum(gap["matched"]) == pytest.approx(1, abs=1e-3)
    assert sum(gap["all"]) == pytest.approx(1, abs=1e-3)
    assert len(gap["first"]) == len(gap["pairs"]) == 10


def test_an_empty_index_has_no_map_and_no_gap(made, tmp_path):
    client = TestClient(create_app(made.served(tmp_path / "empty", filled=False)))
    assert client.get("/page/served").json()["indexes"][0]["examples"] == []
    assert client.get("/page/map").json()["ids"] == []
    assert client.get("/page/gap").json() == {}


def test_a_map_is_drawn_again_when_rows_came(served):
    from tiny_served import picture

    from sensorium.serving.indexes import NewRow

    client = TestClient(create_app(served))
    assert client.get("/page/map").json()["total"] == 10
    asyncio.run(served.index(None).add([NewRow("image", picture("red", 77), "new")]))
    assert "new" in client.get("/page/map").json()["ids"]


def test_places_keep_the_shape_of_the_points():
    points = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]])
    drawn = placed(points)
    assert drawn.min() >= 0
    assert drawn.max() <= 10_000
    wide, high = drawn[1] - drawn[0], drawn[0] - drawn[3]  # y grows downwards
    assert wide[0] == pytest.approx(2 * high[1], abs=5)


# ---- reports ----------------------------------------------------------------------------------------------


def test_reports_are_asked_for_by_name_and_may_do_nothing_here(served, tmp_path):
    run, card = tmp_path / "run", tmp_path / "other" / "checkpoints" / "step-2"
    run.mkdir()
    card.mkdir(parents=True)
    (run / "report.html").write_text("<h1>A run</h1>")
    (card / "README.md").write_text("# A card")
    served.models["colours"].space.source = str(run)
    served.models["moods"].predictor.source = str(card.parent.parent)
    try:
        assert written(served) == {"colours": run / "report.html", "moods": card / "README.md"}
        client = TestClient(create_app(served))
        assert [(one["name"], one["kind"]) for one in client.get("/page/reports").json()] == [
            ("colours", "report"), ("moods", "card"),
        ]  # fmt: skip
        report = client.get("/page/reports/colours")
        assert report.text == "<h1>A run</h1>"
        assert report.headers["Content-Security-Policy"] == "sandbox allow-scripts; frame-ancestors 'self'"
        assert client.get("/page/reports/moods").headers["content-type"].startswith("text/plain")
        for name in ("talker", "none", "../run", str(run / "report.html"), "..%2f..%2fetc%2fpasswd"):
            assert client.get(f"/page/reports/{quote(name, safe='%')}").status_code == 404
    finally:
        served.models["colours"].space.source = served.models["moods"].predictor.source = ""


def test_without_the_page_there_is_none(served):
    client = TestClient(create_app(served, Settings(page=False)))
    assert client.get("/").status_code == 404
    assert client.get("/page/served").status_code == 404
