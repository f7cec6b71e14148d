"""Every way of starting from a pretrained part, at several numbers of labels: one table, one file, one figure.

`starts` runs -> starts.json, starts.png
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from sensorium.evaluation.generated import Measured
from sensorium.evaluation.repeats import Estimate, estimate
from sensorium.recipes.starts import ANSWERS, SPACED, UNTRAINED, Way, starts
from sensorium.recipes.starts_data import Column
from sensorium.training.checkpoint import find
from sensorium.training.history import write_text
from sensorium.training.loop import fit
from sensorium.training.optim import trainable
from sensorium.viewing import by_size

WAYS: tuple[Way, ...] = get_args(Way)
SHOTS = (2, 8, 32)
REFERENCE: Way = "probe"
NAMES = {
    "probe": "linear probe",
    "full": "full fine-tuning",
    "layerwise": "layer-wise rates",
    "gradual": "gradual unfreezing",
    "adapters": "adapters",
    "lora": "LoRA",
    "words": "labels' words, nothing learned",
    "prompts": "learned prompts (CoOp)",
    "space_probe": "linear probe of the space",
    "untrained_probe": "untrained: linear probe",
    "scratch": "untrained: full training",
}


@dataclass(frozen=True)
class Cell:
    """One way at one number of labels, over seeds.

    score:   accuracy, its interval over test rows and seeds
    over:    the same less the linear probe's on the same rows and seeds; None for the probe itself
    blind:   accuracy with the pictures (or names) of other rows, the mean over seeds
    learned: trained parameters
    """

    score: Estimate
    over: Estimate | None
    blind: float
    learned: int


def compare_starts(
    folder: Path,
    column: Column = "image",
    space: Path | None = None,
    ways: Sequence[Way] = (),
    shots: Sequence[int] = SHOTS,
    seeds: int = 3,
    **options: Any,
) -> dict[Way, dict[int, Cell]]:
    """Train every way at every number of labels with every seed, and report. `options` are of the recipe.

    ways: all when none is named; those that start from a space are left out without one

    What was trained before is read again. Raises ValueError for a way that there is not, and a folder without a space.
    """
    if strange := [way for way in ways if way not in WAYS]:
        raise ValueError(f"--ways {' '.join(strange)}: expected some of {', '.join(WAYS)}")
    if space is not None:
        find(space)  # a wrong folder is told before anything is trained
    chosen = [way for way in WAYS if (way in ways if ways else space is not None or way not in SPACED)]
    if REFERENCE not in chosen:
        chosen.insert(0, REFERENCE)
    runs: dict[tuple[Way, int], list[dict[str, Any]]] = {}
    for seed in range(seeds):
        for count in shots:
            for way in chosen:
                place = folder / f"{way}-{count}-{seed}"
                done = trained(way, count, place, column=column, space=space, seed=seed, **options)
                runs.setdefault((way, count), []).append(done)
    cells: dict[Way, dict[int, Cell]] = {
        way: {count: cell(runs, way, count) for count in shots} for way in chosen
    }
    majority = float(np.mean([one["majority"] for one in runs[REFERENCE, shots[0]]]))
    report(folder, cells, majority, column, seeds, len(runs[REFERENCE, shots[0]][0]["right"]))
    return cells


def trained(way: Way, shots: int, folder: Path, **options: Any) -> dict[str, Any]:
    """Which test rows a run answered rightly, and what it learned with. Of a finished run the weights are deleted."""
    done = folder / "starts.json"
    if not done.exists():
        run = starts(way, shots, folder=folder, progress=False, **options)
        [score] = fit(run).scores.values()
        said = json.loads((folder / ANSWERS).read_text("utf-8"))
        found = {
            "right": [int(given == right) for given, right in zip(said["given"], said["right"], strict=True)],
            "blind": score["blind_shuffled"],
            "majority": score["majority"],
            "learned": 0 if way == "words" else sum(p.numel() for p in trainable(run.model).values()),
        }
        shutil.rmtree(folder / "checkpoints")
        write_text(done, json.dumps(found) + "\n")
        print(f"{way}, {shots} of each: {np.mean(found['right']):.1%}", flush=True)
    loaded: dict[str, Any] = json.loads(done.read_text("utf-8"))
    return loaded


def cell(runs: Mapping[tuple[Way, int], Sequence[Mapping[str, Any]]], way: Way, shots: int) -> Cell:
    """Intervals over rows and seeds of one way, and of its difference from the linear probe."""
    own, plain = (
        [Measured(np.array(one["right"], float)) for one in runs[name, shots]] for name in (way, REFERENCE)
    )
    return Cell(
        estimate(own),
        None if way == REFERENCE else estimate(own, less=plain),
        float(np.mean([one["blind"] for one in runs[way, shots]])),
        runs[way, shots][0]["learned"],
    )


def report(
    folder: Path,
    cells: Mapping[Way, Mapping[int, Cell]],
    majority: float,
    column: Column,
    seeds: int,
    rows: int,
) -> None:
    """Print the table; write starts.json and starts.png."""
    shots = list(cells[REFERENCE])
    what = {"image": "drawing", "text": "name"}[column]
    title = f"Ways to start: the group of a {what}, from so many labelled {what}s of each group"
    grid = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None)
    grid.add_column("")
    for heading in ("learned", *map(str, shots)):
        grid.add_column(heading, justify="right", no_wrap=True)
    for way, found in cells.items():
        grid.add_row(NAMES[way], f"{found[shots[0]].learned:,}", *(shown(found[count]) for count in shots))
    blind = [max(found[count].blind for found in cells.values()) for count in shots]
    grid.add_row(f"{what}s shuffled, the highest of any way", "", *(f"{100 * one:.1f}" for one in blind))
    grid.add_row("majority", "", *(f"{100 * majority:.1f}" for _ in shots))
    grid.min_width = len(title)
    console = Console()
    if not console.is_terminal:  # a pipe has no width, and 80 columns would fold the names
        console = Console(file=console.file, width=140)
    console.print(grid)
    console.print(
        f"Accuracy in percent on {rows} {what}s of other things; 95 % intervals over rows and seeds ({seeds}). "
        "= : not shown to differ from the linear probe",
        style="dim",
        highlight=False,
    )
    entries = {
        way: {
            str(count): {
                **one.score.as_dict(),
                "over_probe": one.over.as_dict() if one.over else None,
                "blind_shuffled": one.blind,
                "learned": one.learned,
            }
            for count, one in found.items()
        }
        for way, found in cells.items()
    }
    about = {"column": column, "seeds": seeds, "rows": rows, "majority": majority, "ways": entries}
    write_text(folder / "starts.json", json.dumps(about, indent=1) + "\n")
    by_size.save(
        folder / "starts.png",
        {NAMES[way]: {count: one.score for count, one in found.items()} for way, found in cells.items()},
        title,
        plain=[NAMES[way] for way in cells if way in UNTRAINED],
        lines={"majority": majority},
        unit=f"labelled {what}s of each group",
    )


def shown(one: Cell) -> str:
    """ "= 43.2 (38.0 … 48.1)", with "=" where the difference from the linear probe may be none."""
    score = " ".join(
        (f"{100 * one.score.value:.1f}", f"({100 * one.score.low:.1f} … {100 * one.score.high:.1f})")
    )
    same = one.over is not None and one.over.low <= 0 <= one.over.high
    return f"= {score}" if same else score
