"""What the documents say is true: commands run, programs run, links lead somewhere, tables agree."""

from __future__ import annotations

import functools
import io
import json
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import sensorium
from sensorium import cli
from sensorium.data import bundled
from sensorium.evaluation import generated

ROOT = Path(__file__).resolve().parents[1]
README, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
SERVING = ROOT / "docs" / "serving.md"
DOCUMENTS = [README, CHINESE, *sorted((ROOT / "docs").glob("*.md"))]
SRC = Path(sensorium.__file__).parent
FEWER = {"emoji": "64", "stamps": "64", "scenes": "3"}  # records, in place of all
PICTURES = 24  # in the folder that stands for the user's own
# Whole trainings: their options are read by the real parser, then nothing is run.
TOO_LONG = (
    "sensorium quickstart",
    "sensorium compare",
    "sensorium gains",
    "sensorium starts",
    "sensorium train starts",
    "sensorium train few_labels",
    "sensorium train multi_task",
    "sensorium train image_text_audio",
    "sensorium train clip",
    "sensorium train siglip",
    "sensorium train scene_names",
    "sensorium train scene_questions",
    "sensorium train palm_e",
    "sensorium train speech",
    "sensorium train captions",
    "sensorium train blip",
    "sensorium capfilt",
    "sensorium train llava",
    "sensorium train videoprism",
    "sensorium train masked_videoprism",
    "sensorium train clip_questions",
    "sensorium serve",
)


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text("utf-8"), flags=re.S | re.M)


def commands(document: Path) -> list[str]:
    lines = "\n".join(blocks(document, "sh")).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def table_rows(document: Path) -> dict[str, list[str]]:
    """First cell -> the others, of every row of every table."""
    rows = re.findall(r"^\|(.+)\|$", document.read_text("utf-8"), flags=re.M)
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    return {row[0]: row[1:] for row in cells}


def score_rows(document: Path) -> dict[str, list[str]]:
    """The rows of the tables of seven columns: name, value, interval, blind, chance, closed form, n."""
    return {
        name: rest
        for name, rest in table_rows(document).items()
        if re.match(r"(emoji|stamps)\.", name) and len(rest) == 6
    }


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader of the documents types: a quickstart of a few records, and pictures of their own."""
    from sensorium.recipes.quickstart import quickstart

    folder = tmp_path_factory.mktemp("reader")
    own = folder / "my" / "pictures"
    own.mkdir(parents=True)
    for number, sample in enumerate(bundled.emoji("train", ["noto"])[:: 1422 // PICTURES][:PICTURES]):
        (own / f"{number}.webp").write_bytes(sample.columns["image"].read())
        (own / f"{number}.txt").write_text(str(sample.columns["text"]), encoding="utf-8")
    for group in ("animals-nature", "food-drink"):  # sub-folders as labels
        (folder / "my" / "sorted" / group).mkdir(parents=True)
        of_group = [one for one in bundled.emoji("train", ["noto"]) if one.fields["group"] == group]
        for number, sample in enumerate(of_group[: PICTURES // 2]):
            place = folder / "my" / "sorted" / group / f"{number}.webp"
            place.write_bytes(sample.columns["image"].read())
            place.with_suffix(".txt").write_text(str(sample.columns["text"]), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        quickstart(Path("runs/quickstart"), limit=64, epochs=1, steps=1, scenes=3)
        clips_of_their_own(Path("my/clips"))
    return folder


def clips_of_their_own(clips: Path) -> None:
    """Clips with sentences, and runs of a step that have watched some."""
    from sensorium.media.writing import write_video
    from sensorium.recipes.clip_questions import clip_questions
    from sensorium.recipes.videoprism import videoprism
    from sensorium.recipes.videoprism_clips import Clips
    from sensorium.training.loop import fit

    clips.mkdir(parents=True)
    for number, clip in enumerate(Clips(seed=3).both_ways(PICTURES)):
        write_video(clip.video, clips / f"{number}.mp4")
        (clips / f"{number}.txt").write_text(clip.caption, encoding="utf-8")
    little = {"steps": 1, "tested": 4, "progress": False}
    fit(videoprism(batch_size=2, probed=8, **little))
    fit(clip_questions(batch_size=1, captioned=0, **little))


def parsed_only(function: Callable[..., Any], calls: list[dict[str, Any]]) -> Callable[..., Any]:
    """The same options, no work: notes what it was called with."""

    @functools.wraps(function)
    def note(*positional: Any, **options: Any) -> SimpleNamespace:
        calls.append(options)
        return SimpleNamespace(progress=False, report=None)  # what a command asks of a run

    return note


def status(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a `sensorium` command in this process; its exit status."""
    words = shlex.split(command, comments=True)
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    assert words[0] == "sensorium", f"unknown command {words[0]!r}"
    arguments = words[1:]
    calls: list[dict[str, Any]] = []
    with monkeypatch.context() as patch:
        heavy = " ".join(words[:3]).startswith(TOO_LONG) and "--help" not in words
        if heavy and arguments[0] != "train":
            patch.setitem(cli.COMMANDS, arguments[0], parsed_only(cli.COMMANDS[arguments[0]], calls))
        elif heavy:
            from sensorium import recipes

            recipe = parsed_only(recipes.recipe_function(arguments[1]), calls)
            patch.setattr(recipes, "recipe_function", lambda name: recipe)
            patch.setattr("sensorium.training.loop.fit", lambda run: None)
        elif arguments[:1] == ["evaluate"] and arguments[2] in FEWER:
            arguments = [*arguments, "--limit", FEWER[arguments[2]]]
        patch.setattr("sys.stdin", io.StringIO("What is this?\n"))  # what a chat is told
        try:
            cli.main(arguments)
        except SystemExit as stop:
            return int(stop.code or 0)
    assert len(calls) == heavy
    return 0


def test_there_are_commands_to_test():
    assert commands(README)[:2] == ["make quickstart", "make test"]
    assert {"index", "search", "train", "evaluate", "systems", "doctor"} <= {
        line.split()[1] for line in commands(README)
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_make_target_exists(document: Path):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M)
    named = re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", document.read_text("utf-8"), flags=re.M)
    assert {one or other for one, other in named} <= set(targets)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_command_that_is_named_exists(document: Path):
    assert set(re.findall(r"`sensorium ([a-z]+)", document.read_text("utf-8"))) <= set(cli.COMMANDS)


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if d != CHINESE and commands(d)], ids=lambda document: document.name
)
def test_commands_run(document: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    failed = {}
    for command in commands(document):
        if command.split()[0] == "make" or command == "source .venv/bin/activate":
            continue
        if code := status(command, monkeypatch):
            failed[command] = code
    assert failed == {}


@pytest.mark.parametrize(
    "command",
    [
        "sensorium --help",
        "sensorium quickstart --seed 1",
        "sensorium train",
        "sensorium train image_text_audio --epochs 1",
    ],
)
def test_more_commands_run(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    assert status(command, monkeypatch) == 0


@pytest.mark.parametrize(
    "command",
    [
        "sensorium serach runs/quickstart/index --text apple",
        "sensorium search runs/quickstart/index --txt apple",
        "sensorium quickstart --sede 1",
        "sensorium train image_text_audio --epoch many",
        "sensorium index my-index no/such/folder",
    ],
)
def test_a_wrong_command_would_be_found(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    assert status(command, monkeypatch) == 2


@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if d not in (CHINESE, SERVING) and blocks(d, "python")],
    ids=lambda document: document.name,
)
def test_programs_run(document: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(folder)
    capsys.readouterr()
    for number, program in enumerate(blocks(document, "python")):
        exec(compile(program, f"{document.name}, program {number}", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    """The address at which the command of the document serves, in a process of its own."""
    [command, *_] = blocks(SERVING, "shell")
    words = [sys.executable, "-c", "from sensorium.cli import main; main()", *shlex.split(command)[1:]]
    process = subprocess.Popen([*words, "--port", "0"], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[2]
    finally:
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.parametrize("number", range(1, len(blocks(SERVING, "shell"))))
def test_requests_of_the_document_are_answered(number: int, server: str, folder: Path):
    assert shutil.which("curl"), "curl is not on this machine"
    typed = blocks(SERVING, "shell")[number].replace("http://127.0.0.1:8000", server)
    done = subprocess.run(["bash", "-c", typed], cwd=folder, capture_output=True, text=True)
    answer = json.loads(done.stdout)
    assert "error" not in answer or answer["error"] is None, done.stdout
    assert answer["object"] in ("list", "chat.completion", "index.job")


@pytest.mark.parametrize("number", range(len(blocks(SERVING, "python"))))
def test_programs_of_the_document_reach_the_server(
    number: int, server: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.chdir(folder)
    program = blocks(SERVING, "python")[number].replace("http://127.0.0.1:8000", server)
    exec(compile(program, f"serving.md, program {number}", "exec"), {"__name__": "__main__"})
    assert len(capsys.readouterr().out.splitlines()) >= 2


@pytest.mark.skipif(shutil.which("node") is None, reason="no JavaScript on this machine")
def test_javascript_of_the_document_reaches_the_server(server: str, tmp_path: Path):
    [program] = blocks(SERVING, "js")
    file = tmp_path / "program.mjs"
    file.write_text(program.replace("http://127.0.0.1:8000", server), encoding="utf-8")
    done = subprocess.run(["node", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4


def test_the_shortest_program_finds_pictures_in_four_lines(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    [program] = blocks(README, "python")
    assert len(program.splitlines()) == 4
    monkeypatch.chdir(folder)
    exec(compile(program.replace("fish-index", "another-index"), "README.md", "exec"), {})
    hits = sensorium.Index.open("another-index", sensorium.load("runs/quickstart")).search(text="a red fish")
    assert len(hits) == 10
    assert all(Path(hit.path).suffix in (".webp", ".txt") for hit in hits)


def test_both_readmes_have_the_same_commands_programs_and_scores():
    assert commands(CHINESE) == commands(README)
    assert blocks(CHINESE, "python") == blocks(README, "python")
    assert score_rows(CHINESE) == score_rows(README)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_and_pictures_exist(document: Path):
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8"))
    local = [link for link in links if "://" not in link]
    missing = [link for link in local if not (document.parent / link.partition("#")[0]).exists()]
    assert missing == []
    files = re.findall(r"`(src/[\w/.]+)`", document.read_text("utf-8"))
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_the_readme_quotes_the_results():
    quoted, measured = score_rows(README), score_rows(ROOT / "docs" / "results.md")
    assert len(quoted) >= 5
    assert len(measured) == 105
    assert quoted == {name: measured[name] for name in quoted}


def test_what_the_results_say_of_the_closed_form_is_counted():
    text = (ROOT / "docs" / "results.md").read_text("utf-8")
    flat = " ".join(text.split())
    total, better, equal, worse = map(
        int, re.findall(r"Of (\d+) scores (\d+) are better, (\d+) equal and (\d+) a little worse", flat)[0]
    )
    gains = {
        name: (float(row[0]) - float(row[4])) * (-1 if name.endswith("median_rank") else 1)
        for name, row in score_rows(ROOT / "docs" / "results.md").items()
    }
    assert (total, better + equal + worse) == (len(gains), total)
    assert worse == sum(gain < 0 for gain in gains.values())
    assert better == sum(gain > 0 for gain in gains.values())
    worst = [name for name, gain in gains.items() if gain < -1.7]
    assert set(worst) <= set(re.findall(r"^\| (\S+) \| [\d.]+ \| [\d.]+ \| .*(?:−|later)", text, flags=re.M))


@pytest.mark.parametrize("document", [README, CHINESE, ROOT / "docs" / "answers.md"], ids=lambda d: d.name)
def test_the_answers_quoted_are_those_of_the_shipped_weights(document: Path):
    measured = generated.load(ROOT / "weights" / "smol_llava" / "metrics.json")
    rows = {name: row for name, row in table_rows(document).items() if name.startswith("scenes.")}
    assert len(rows) >= 10
    for name, row in rows.items():
        score = measured[name]
        assert isinstance(score, generated.GeneratedScore)
        numbers = (score.blind_withheld, score.blind_shuffled, score.majority, score.names_only)
        value, low, high, *others = (
            "–" if number is None else f"{100 * number:.1f}"
            for number in (score.value, score.low, score.high, *numbers)
        )
        mark = "" if score.clears else "= "
        assert row == [f"{mark}{value}", f"{low} … {high}", *others, f"{score.n:,}"]


def test_the_table_of_rooms_has_every_room():
    named = re.findall(r"^\| \d \| `(\w+)` \|", README.read_text("utf-8"), flags=re.M)
    rooms = {path.stem for path in SRC.iterdir() if path.name[0] in string.ascii_letters}
    assert sorted(named) == sorted(rooms)


def test_the_reading_path_is_as_short_as_said():
    text = README.read_text("utf-8")
    said = int(re.search(r"four files, about (\d+) lines", text)[1])
    path = text.partition("four files, about")[2].partition("A room imports")[0]
    files = re.findall(r"\]\((src/[^)]+)\)", path)
    assert len(files) == 4
    lines = sum(len((ROOT / file).read_text("utf-8").splitlines()) for file in files)
    assert abs(lines - said) <= said / 10
