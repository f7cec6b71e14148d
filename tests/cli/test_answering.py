"""`ask` and `chat`: what a line means, what is printed, and that errors end a line and not the chat."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "facade"))

from small_model import model_of

from sensorium.cli import answering, main
from sensorium.data.conversation import ConversationError
from sensorium.facade import Assistant


@pytest.fixture(scope="module")
def assistant() -> Assistant:
    return Assistant(model_of("llama"), precision="fp32")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for name in ("a.png", "my b.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 6, 3), dtype=np.uint8)).save(
            tmp_path / name
        )
    (tmp_path / "broken.png").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words", "found"),
    [
        ("what's in a.png?", "what's in?", ["a.png"]),
        ("a.png 'my b.png' which is older", "which is older", ["a.png", "my b.png"]),
        (r"my\ b.png describe", "describe", ["my b.png"]),
        ("{folder}/a.png", "", ["{folder}/a.png"]),
        ("file://{folder}/my%20b.png hm", "hm", ["{folder}/my b.png"]),
        ("is c.png a good name? e.g. it's short", "is c.png a good name? e.g. it's short", []),
        ("what is a.png ? hm ...", "what is? hm...", ["a.png"]),
        ("see https://x.org/a.png", "see https://x.org/a.png", []),
    ],
)
def test_files_named_in_a_line_are_found(folder, line, words, found):
    got, paths = answering.split_paths(line.format(folder=folder))
    assert (got, [str(path) for path in paths]) == (words, [name.format(folder=folder) for name in found])


def test_a_path_that_leads_nowhere_is_refused(folder):
    with pytest.raises(ConversationError, match="no such file"):
        answering.split_paths("what is in pictures/none.png")


def test_ask_prints_the_answer(assistant, folder, capsys, monkeypatch):
    monkeypatch.setattr(answering, "load_assistant", lambda checkpoint, precision: assistant)
    main(["ask", "x", "what?", "--image", "a.png", "--image", "my b.png", "--max-tokens", "9"])
    expected = assistant.ask("what?", image=["a.png", "my b.png"], max_tokens=9)
    assert capsys.readouterr().out.strip() == answering.CONTROL.sub("", expected).strip()


def test_ask_prints_what_beams_find(assistant, folder, capsys, monkeypatch):
    monkeypatch.setattr(answering, "load_assistant", lambda checkpoint, precision: assistant)
    main(["ask", "x", "what?", "--image", "a.png", "--max-tokens", "9", "--beams", "3"])
    expected = assistant.ask("what?", image="a.png", max_tokens=9, beams=3)
    assert capsys.readouterr().out.strip() == answering.CONTROL.sub("", expected).strip()


def test_options_are_refused_before_a_model_is_opened(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["ask", "nowhere", "what?", "--temperature", "-1"])
    assert stopped.value.code == 2
    assert "temperature=-1.0; expected 0" in capsys.readouterr().err


def test_an_empty_question_is_refused_before_a_model_is_opened(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["ask", "nowhere", " "])
    assert stopped.value.code == 2
    assert "the question is empty" in capsys.readouterr().err


def test_a_chat_goes_on_after_errors(assistant, folder, capsys, monkeypatch):
    monkeypatch.setattr(answering, "load_assistant", lambda checkpoint, precision: assistant)
    lines = [
        "a.png",
        "what?",
        "/image broken.png",
        "/video a.mp4",
        "/nonsense",
        "/state x",
        "and?",
        "/clear",
        "what?",
        "/quit",
        "not read",
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
    main(["chat", "x", "--max-tokens", "9"])
    printed, errors = capsys.readouterr()
    chat = assistant.chat(max_tokens=9)
    expected = ["(with the next question: a.png)", chat.say("what?", image="a.png"), chat.say("and?")]
    expected += ["(a new conversation)", assistant.chat(max_tokens=9).say("what?")]
    assert printed.split("\n") == [*(answering.CONTROL.sub("", one) for one in expected), ""]
    told = errors.strip().split("\n")
    assert len(told) == 4
    for line, part in zip(told, ["broken.png", "no encoder for video", "/nonsense", "expected numbers"]):
        assert line.startswith("sensorium: ")
        assert part in line


def test_a_failed_question_keeps_the_media_that_wait(assistant, folder):
    session = answering.Session(assistant, {"max_tokens": 5})
    session.handle("/image a.png")
    with pytest.raises(ValueError, match=r"broken\.png"):
        session.handle("what is broken.png")
    assert session.waiting == {"image": [Path("a.png")]}
    assert session.chat.messages == []


def test_control_characters_of_an_answer_do_not_reach_the_terminal(capsys):
    answering._print_pieces(piece for piece in ["a\x1b[2J", "b\nc\x07"])
    assert capsys.readouterr().out == "a[2Jb\nc\n"
