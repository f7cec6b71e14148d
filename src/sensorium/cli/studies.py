"""Commands that train several times to find something out: what a fusion, a way of learning, a filter is worth.

As in `commands.py`: only this file and the standard library are imported until a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tyro.conf import Positional


def compare(
    task: Positional[str] = "sentiment",
    kinds: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    label: tuple[str, ...] = (),
    folder: Path | None = None,
    seeds: int = 3,
    steps: int = 300,
    batch_size: int = 64,
    lr: float = 1e-3,
    width: int = 128,
    drop: float = 0.3,
    train: int | None = None,
    held_out: float = 0.2,
    cache: Path | None = None,
    quick: bool = False,
) -> None:
    """Compare ways of fusing on one task, with the same budget and seeds: one table, one figure, one report.

    Every kind of fusion, each column alone, and each fusion with columns missing: scores with intervals over rows and
    seeds, parameters, step time, what a missing column costs, what each adds (Shapley values). A comparison that was
    stopped goes on; what is trained is not trained again.

    Example: sensorium compare sentiment --kinds concatenation gated low_rank

    Args:
        task: A puzzle (sentiment, actions, matching …), or a folder, .jsonl, .csv or .parquet of your own.
        kinds: Of fusion; all when none is named.
        columns: Fuse only these columns.
        label: Of your own data, the field to learn; "rating:number" says what kind of answer a field holds.
        folder: Where everything is written; runs/compare/TASK by default.
        seeds: Trainings of each kind.
        steps: Optimiser steps of each training.
        batch_size: Rows of a step.
        lr: Peak learning rate.
        width: Of the columns where they are joined.
        drop: Modality dropout of a second training of each kind; 0 leaves that out.
        train: Use at most so many training rows.
        held_out: Share of your own records that are tested on, when no field "split" says which.
        cache: Folder of the feature cache.
        quick: A small part of the budget, to see whether it runs.
    """
    from sensorium.cli.comparing import compare_fusions

    compare_fusions(
        task,
        kinds=kinds,
        columns=columns,
        label=label,
        folder=folder or Path("runs/compare") / Path(task).stem,
        seeds=seeds,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        width=width,
        drop=drop,
        train=train,
        held_out=held_out,
        cache=cache,
        quick=quick,
    )


def gains(
    recipe: Positional[str],
    task: tuple[str, ...] = (),
    folder: Path | None = None,
    seeds: int = 3,
    steps: int = 200,
    kind: str = "gated",
    cache: Path | None = None,
) -> None:
    """What a way of learning gains over plain training with the same steps and seeds: a table, gains.json, gains.png.

    few_labels: pseudo-labels, labels from words and a start without labels, at 1 %, 10 % and 100 % of the labels.
    multi_task: fixed, learned and conflict-free weights of tasks, beside each task alone.

    Example: sensorium gains few_labels

    Args:
        recipe: few_labels or multi_task.
        task: Of the recipe: emoji_groups, a puzzle or several (multi_task).
        folder: Where the runs and the results are written, by default runs/gains_RECIPE. It goes on where it stopped.
        seeds: Runs of each way, from seed 0 on.
        steps: Optimiser steps of each run.
        kind: Of fusion.
        cache: Folder of the feature cache.
    """
    from sensorium.recipes.gains import few_label_gains, multi_task_gains

    place = folder or Path("runs") / f"gains_{recipe}"
    options: dict[str, Any] = {"seeds": seeds, "steps": steps, "kind": kind, "cache": cache}
    if recipe == "few_labels" and len(task) < 2:
        few_label_gains(place, task[0] if task else "emoji_groups", **options)
    elif recipe == "multi_task":
        multi_task_gains(place, task or ("sentiment",), **options)
    else:
        raise ValueError(
            f"gains {recipe} of {len(task)} tasks: expected few_labels of one task at most, or multi_task"
        )


def starts(
    space: Path | None = None,
    column: str = "image",
    ways: tuple[str, ...] = (),
    shots: tuple[int, ...] = (2, 8, 32),
    seeds: int = 3,
    steps: int = 40,
    size: int = 96,
    folder: Path | None = None,
    cache: Path | None = None,
) -> None:
    """Compare ways to start from a pretrained part when labels are few: a table, starts.json, starts.png.

    Linear probe, full fine-tuning, layer-wise rates, gradual unfreezing, adapters, LoRA, learned prompts: the group of
    a drawing of an unseen thing by an unseen artist, from 2, 8 and 32 labelled drawings of each of eight groups, beside
    the same encoder untrained, shuffled pictures and the majority. It goes on where it stopped.

    Example: sensorium starts --space runs/quickstart

    Args:
        space: Run of a shared space (sensorium quickstart), for learned prompts; without it they are left out.
        column: image (drawings, EfficientNet-Lite0) or text (their names, MiniLM).
        ways: Only these (see sensorium train starts --help), beside the linear probe.
        shots: Labelled records of each group.
        seeds: Runs of each way, from seed 0 on.
        steps: Optimiser steps of each run.
        size: Side of the pictures in pixels.
        folder: Where the runs and the results are written, by default runs/starts_COLUMN.
        cache: Folder of the feature cache.
    """
    from sensorium.recipes.starts_table import compare_starts

    if column not in ("image", "text"):
        raise ValueError(f"--column {column}; expected image or text")
    place = folder or Path("runs") / f"starts_{column}"
    chosen: Any = ways
    compare_starts(place, column, space, chosen, shots, seeds, steps=steps, size=size, cache=cache)  # type: ignore[arg-type]


def capfilt(
    source: Positional[Path],
    model: Path = Path("runs/blip"),
    out: Path = Path("cleaned"),
    threshold: float = 0.5,
    top_p: float | None = 0.9,
    truth: str = "",
    limit: int | None = None,
    seed: int = 0,
) -> None:
    """Caption the pictures of a noisy set, and keep of the given and the made captions those that fit (BLIP's CapFilt).

    Writes OUT/pairs.jsonl, which every command reads as a set of its own, OUT/pictures, OUT/report.html with kept and
    removed texts and their scores, and OUT/quarantine.jsonl. The source stays as it is.

    Example: sensorium capfilt my/photos --model runs/blip --out my/cleaned

    Args:
        source: Folder of pictures with captions (x.jpg and x.txt), .csv, .jsonl, .json, .parquet or .tar.
        model: Folder of a checkpoint, or of a run of sensorium train blip.
        out: Folder to write, which must be empty or not there.
        threshold: Least probability, by the model's matching, of a text that stays.
        top_p: Captions are drawn from the fewest likeliest words whose probabilities sum to this; None: the likeliest.
        truth: Name of a field that says (1 or 0) whether a given text is wrong: the report then says how well those
            were found.
        limit: Use at most so many records.
        seed: Of the drawn captions.
    """
    from sensorium.cli.filtering import filter_source

    filter_source(source, model, out, threshold, top_p, truth, limit, seed)
