"""What a way of learning gains over plain training with the same budget and seeds: one table, one file, one figure.

few_labels: every start at 1 %, 10 % and 100 % of the labels. multi_task: every weighting, beside each task alone
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from sensorium.evaluation.generated import LOWER
from sensorium.evaluation.predictions import main_metric
from sensorium.recipes.few_labels import EMOJI_GROUPS, STARTS, few_labels
from sensorium.recipes.multi_task import multi_task
from sensorium.training.history import write_text
from sensorium.training.loop import fit
from sensorium.training.run import Run

SHARES = (0.01, 0.1, 1.0)
WEIGHTINGS = ("fixed", "uncertainty", "pcgrad")
Scores = Mapping[str, Mapping[str, Any]]  # of metrics.json
Cells = dict[str, dict[str, list[float]]]  # way -> column -> a score a seed


def few_label_gains(
    folder: Path, task: str = EMOJI_GROUPS, seeds: int = 3, shares: Sequence[float] = SHARES, **options: Any
) -> Cells:
    """Scores of every start at every share of the labels; `options` are of the recipe. Writes gains.json, gains.png."""
    cells: Cells = {start: {} for start in STARTS}
    quiet: dict[str, Any] = {"progress": False}
    for share in shares:
        for start in STARTS:
            found = []
            for seed in range(seeds):
                place = folder / f"{start}-{share:g}-{seed}"
                make = partial(few_labels, task, start, share, folder=place, seed=seed, **quiet, **options)
                scores, asked = trained(make, place)
                found.append(scores[asked[0]]["value"])
            cells[start][f"{share:.0%}"] = found
    report(folder, f"{task}: by share of the labels", cells, "none", dict.fromkeys(cells["none"], True))
    return cells


def multi_task_gains(
    folder: Path, tasks: tuple[str, ...] = ("sentiment",), seeds: int = 3, **options: Any
) -> Cells:
    """Scores of each task under every weighting, and alone; `options` are of the recipe. Writes the same files."""
    cells: Cells = {way: {} for way in ("alone", *WEIGHTINGS)}
    quiet: dict[str, Any] = {"progress": False}
    higher: dict[str, bool] = {}

    def add(way: str, only: tuple[str, ...], weighting: Any) -> None:
        for seed in range(seeds):
            place = folder / f"{'-'.join((way, *only))}-{seed}"
            make = partial(
                multi_task, tasks, weighting, only=only, folder=place, seed=seed, **quiet, **options
            )
            scores, asked = trained(make, place)
            for name in asked:
                cells[way].setdefault(name, []).append(scores[name]["value"])
                higher[name] = scores[name].get("unit") not in LOWER

    for weighting in WEIGHTINGS:
        add(weighting, (), weighting)
    for name in list(cells["fixed"]):
        add("alone", (name.rpartition(".")[0],), "fixed")
    report(folder, f"{', '.join(tasks)}: tasks together and alone", cells, "alone", higher)
    return cells


def trained(make: Callable[[], Run], folder: Path) -> tuple[Scores, list[str]]:
    """The scores of a run, and the names of its tasks' main ones. What was trained before is read again.

    Of a finished run only the records stay: its weights are deleted.
    """
    done = folder / "gains.json"
    if not done.exists():
        run = make()
        asked = [f"{task.name}.{main_metric(task)}" for task in run.model.tasks]  # type: ignore[union-attr]
        scores = fit(run).scores
        for part in (folder, folder / "start"):
            shutil.rmtree(part / "checkpoints", ignore_errors=True)
        write_text(done, json.dumps({"scores": scores, "asked": asked}) + "\n")
    found = json.loads(done.read_text("utf-8"))
    return found["scores"], found["asked"]


def gain(way: Sequence[float], plain: Sequence[float], higher: bool = True) -> tuple[float, float]:
    """Scores a seed of a way and of plain training, the same seeds -> mean gain, its standard error (NaN: one seed)."""
    off = [(one - other) * (1 if higher else -1) for one, other in zip(way, plain, strict=True)]
    return mean(off), stdev(off) / math.sqrt(len(off)) if len(off) > 1 else math.nan


def report(folder: Path, title: str, cells: Cells, plain: str, higher: Mapping[str, bool]) -> None:
    """Print the table; write gains.json and gains.png."""
    columns = list(cells[plain])
    grid = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None)
    grid.add_column("")
    for column in columns:
        grid.add_column(column + ("" if higher[column] else " ↓"), justify="right", no_wrap=True)
    entries: dict[str, dict[str, dict[str, Any]]] = {}
    for way, found in cells.items():
        entries[way] = {}
        row = []
        for column in columns:
            more, error = gain(found[column], cells[plain][column], higher[column])
            entries[way][column] = {"scores": found[column], "mean": mean(found[column]), "gain": more}
            entries[way][column]["standard_error"] = None if math.isnan(error) else error
            row.append(
                f"{mean(found[column]):.3f}" + ("" if way == plain else f"  {more:+.3f} ± {error:.3f}")
            )
        grid.add_row(way, *row)
    console = Console()
    if not console.is_terminal:  # a pipe has no width, and 80 columns would fold the names
        console = Console(file=console.file, width=140)
    console.print(grid)
    console.print(
        f"Means over {len(cells[plain][columns[0]])} seeds; gain over {plain} ± its standard error over seeds",
        style="dim",
    )
    write_text(folder / "gains.json", json.dumps(entries, indent=1) + "\n")
    draw(folder / "gains.png", title, cells, higher)


def draw(path: Path, title: str, cells: Cells, higher: Mapping[str, bool]) -> None:
    """A group of bars a column, a bar a way, a dot a seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = ("#9aa0ab", "#0072b2", "#e69f00", "#009e73", "#cc79a7")
    figure = Figure(figsize=(2.2 + 1.8 * len(higher), 3.4), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    wide = 0.8 / len(cells)
    for place, (way, found) in enumerate(cells.items()):
        for group, column in enumerate(higher):
            x = group + (place - (len(cells) - 1) / 2) * wide
            label = way if group == 0 else None
            axes.bar(x, mean(found[column]), 0.9 * wide, color=colours[place % len(colours)], label=label)
            axes.scatter([x] * len(found[column]), found[column], s=9, color="#1b1d22", zorder=3, lw=0)
    axes.set_xticks(range(len(higher)), [name + ("" if up else " ↓") for name, up in higher.items()], size=8)
    axes.set_title(title, size=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    figure.legend(fontsize=8, frameon=False, loc="outside right upper")
    figure.savefig(path, dpi=160, format="png")
