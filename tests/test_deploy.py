"""The unit and the container build name what is there; what cannot be built in a test is at least read."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from sensorium import cli
from sensorium.cli import serving

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE, UNIT = ROOT / "deploy" / "Dockerfile", ROOT / "deploy" / "sensorium.service"


def options(command: str) -> list[str]:
    """What follows `sensorium serve`."""
    return shlex.split(command.partition("sensorium serve ")[2])


def parsed(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> dict:
    """What the real command would serve, and how."""
    found: dict = {}

    def note(checkpoints, indexes, settings, verbose):
        found.update(checkpoints=checkpoints, settings=settings)

    def read(file):
        found["keys"] = file
        return frozenset()

    monkeypatch.setattr(serving, "_served", note)
    monkeypatch.setattr(serving, "_hashes", read)
    cli.main(["serve", *arguments])
    return found


def test_the_unit_starts_the_command_as_it_is(monkeypatch):
    unit = UNIT.read_text()
    [line] = re.findall(r"^ExecStart=(.*)$", unit, flags=re.M)
    given = parsed(options(line), monkeypatch)
    assert given["checkpoints"] == ("%S/sensorium/quickstart",)
    assert given["settings"].host == "127.0.0.1"
    assert given["keys"] == Path("%d/keys")
    [stop] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, flags=re.M)
    assert int(stop) > given["settings"].drain  # or systemd kills what it should let end


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_understands_the_unit(tmp_path):
    program = tmp_path / "sensorium"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "sensorium.service"
    unit.write_text(UNIT.read_text().replace("/opt/sensorium/bin/sensorium", str(program)))
    said = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")


def test_the_container_copies_what_is_there_and_serves_all_networks(monkeypatch):
    build = DOCKERFILE.read_text()
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", build, flags=re.M) for word in line.split()
    ]
    assert copied == ["requirements.lock", "pyproject.toml", "README.md", "LICENSE", "src"]
    assert all((ROOT / name).exists() for name in copied)
    [entry] = re.findall(r"^ENTRYPOINT \[(.*)\]$", build, flags=re.M)
    [default] = re.findall(r"^CMD \[(.*)\]$", build, flags=re.M)
    words = [word.strip().strip('"') for word in f"{entry}, {default}".split(",")]
    given = parsed(words[2:], monkeypatch)
    assert (given["settings"].host, given["settings"].port) == ("0.0.0.0", 8000)
    assert given["checkpoints"] == ("/runs/quickstart",)
    assert "serve" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert re.findall(r"^USER (\w+)$", build, flags=re.M) == ["sensorium"]
