"""`sensorium serve`: what it says before and while it serves, and how Ctrl-C ends it."""

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from sensorium.cli import main
from sensorium.serving.keys import hashed

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / "serving"), str(TESTS / "facade")]


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["serve", *arguments])
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.strip()


def test_what_cannot_be_served_is_one_line_that_says_what_can(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "sensorium quickstart" in refused(capsys)
    assert "nowhere is not a checkpoint" in refused(capsys, "nowhere", "--port", "0")
    assert "nowhere: no index here" in refused(capsys, "--index", "nowhere", "--port", "0")
    assert "keys.txt" in refused(capsys, "x", "--api-key-file", "keys.txt")
    assert "https://example.org" in refused(capsys, "x", "--cors-origin", "example.org")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert "already in use" in refused(capsys, "x", "--port", str(other.getsockname()[1]))


def test_a_new_key_is_printed_once_with_its_line(capsys):
    main(["serve", "--new-key"])
    first, _, line = capsys.readouterr().out.strip().splitlines()
    key = first.rpartition(" ")[2]
    assert line == f"sha256:{hashed(key)}"


def test_it_says_what_it_serves_and_where_and_ctrl_c_ends_it_well(capsys, tmp_path, monkeypatch):
    from tiny_served import Made

    from sensorium.serving.served import Served

    made = Made().served(tmp_path / "squares", filled=False)
    monkeypatch.setattr(Served, "open", lambda *given: made)
    file = tmp_path / "keys.txt"
    file.write_text(f"sha256:{hashed('right')}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    at, answers = f"http://127.0.0.1:{port}", []

    def use() -> None:
        for _ in range(500):
            try:
                answers.append(httpx.get(f"{at}/v1/models").status_code)
                break
            except httpx.ConnectError:
                time.sleep(0.02)
        answers.append(httpx.get(f"{at}/v1/models", headers={"Authorization": "Bearer right"}).status_code)
        answers.append(httpx.get(f"{at}/healthz", headers={"Host": "stranger.example"}).status_code)
        os.kill(os.getpid(), signal.SIGINT)

    user = threading.Thread(target=use)
    user.start()
    main(["serve", "runs/x", "--port", str(port), "--no-page", "--api-key-file", str(file)])
    user.join()
    assert answers == [401, 200, 403]
    said = capsys.readouterr()
    assert f"Serving at {at}\n" in said.out
    assert "model talker: chat, of text, image, audio, state" in said.out
    assert "index squares: 0 rows, by colours" in said.out
    assert f"curl {at}/v1/search" in said.out
    assert "Bearer YOUR-KEY" in said.out
    assert "all that was accepted is answered" in said.err
