"""How long a command takes to start: `sensorium` beside the libraries that it stands on.

    python benchmarks/startup.py [--rounds 7]

Every start is a process of its own, with the files already in the system's cache (one start each is not
counted), and the commands take turns, so that what else the machine does falls on all of them. Prints medians of
the clock's and of processor time, and ratios to `import sensorium` as medians over rounds.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python, nothing imported": ["-c", "pass"],
    "import sensorium": ["-c", "import sensorium"],
    "sensorium --help": [str(Path(sys.executable).with_name("sensorium")), "--help"],
    "import torch": ["-c", "import torch"],
    "import transformers": ["-c", "import transformers"],
    "a CLIP of transformers": ["-c", "from transformers import CLIPModel, CLIPProcessor"],
    "a CLIP of sensorium": ["-c", "from sensorium.systems.clip import clip"],
}


def start(command: list[str]) -> tuple[float, float]:
    """Seconds from start to end of a process, and its processor seconds."""
    before, started = children(), time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - started, children() - before


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    for command in COMMANDS.values():
        start(command)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            taken[name].append(start(command))
    print(f"medians of {rounds} rounds")
    print(f"{'':26}{'seconds':>9}{'CPU s':>8}{'× import sensorium':>20}{'in CPU time':>13}")
    for name, runs in taken.items():
        clock, cpu = (statistics.median(run[kind] for run in runs) for kind in (0, 1))
        slower, dearer = (
            statistics.median(a[kind] / b[kind] for a, b in zip(runs, taken["import sensorium"]))
            for kind in (0, 1)
        )
        print(f"{name:26}{clock:9.3f}{cpu:8.3f}{slower:20.2f}{dearer:13.2f}")


if __name__ == "__main__":
    main()
