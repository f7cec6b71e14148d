"""Processes that take turns: what else the machine does falls on all of them.

A side answers each line of its standard input with one line of JSON; `serve` is its half of the conversation,
`Side` the other's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def serve(turn: Callable[[], Any]) -> None:
    """Say that all is ready, then take a turn for every line of standard input."""
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(turn()), flush=True)


class Side:
    """A process that serves; made when it is ready.

    arguments: of this Python, the script first; environment: what is added to this process's own
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.command = [sys.executable, *arguments]
        self.process = subprocess.Popen(
            self.command,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer()

    def _answer(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(self.command)}: ended early; run it to see why")
        return line

    def turn(self) -> Any:
        assert self.process.stdin
        print(file=self.process.stdin, flush=True)
        return json.loads(self._answer())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
