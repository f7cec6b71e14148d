"""argv -> one typed function of `commands.py`, `studies.py` or `serving.py`."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable

import tyro

from sensorium.cli import commands, serving, studies

COMMANDS: dict[str, Callable[..., None]] = {
    "quickstart": commands.quickstart,
    "train": commands.train,
    "evaluate": commands.evaluate,
    "predict": commands.predict,
    "compare": studies.compare,
    "gains": studies.gains,
    "starts": studies.starts,
    "capfilt": studies.capfilt,
    "index": commands.index,
    "search": commands.search,
    "ask": commands.ask,
    "chat": commands.chat,
    "serve": serving.serve,
    "systems": commands.systems,
    "doctor": commands.doctor,
}


def main(argv: list[str] | None = None) -> None:
    """Run one command. What the user can mend is one line on standard error and exit status 2."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
            near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
            guess = f" Did you mean 'sensorium {near[0]}'?" if near else ""
            raise ValueError(f"no command {arguments[0]!r}; there are: {', '.join(COMMANDS)}.{guess}")
        if arguments[:1] == ["train"] and len(arguments) > 1 and not arguments[1].startswith("-"):
            commands.train(arguments[1], tuple(arguments[2:]))  # the recipe reads its own options
            return
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="sensorium",
            description="Build, train, search with and ask multimodal models. 'sensorium COMMAND --help' explains one.",
            args=arguments or ["--help"],
        )
    except BrokenPipeError:  # `sensorium search … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError) as error:
        if os.environ.get("SENSORIUM_TRACEBACK") == "1":
            raise
        print(f"sensorium: {error}", file=sys.stderr)
        sys.exit(2)
