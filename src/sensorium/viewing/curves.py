"""Losses and scores over the steps of a run.

history.jsonl | its records -> plots
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.viewing.names import readable
from sensorium.viewing.svg import Frame, legend

MAIN = ("R@1", "top-1", "accuracy")  # the ends of the names of the scores that are drawn
POINTS = 240  # of a curve; more steps are drawn as means, with a band from the least to the largest
KINDS = ("c0", "c1", "c2", "c3", "c4", "c5")

History = str | os.PathLike | Sequence[Mapping[str, Any]]


def records_of(history: History) -> list[Mapping[str, Any]]:
    """The records of a run: a list of them, or a history.jsonl (a last line cut off is left out)."""
    if not isinstance(history, str | os.PathLike):
        return list(history)
    whole = Path(history).read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.split("\n") if line]


def curves(history: History) -> str:
    """Every plot that the records have something for; "" when they have nothing.

    A step's record has "step" and numbers: "loss", "loss/<name>"; an evaluation's has "step" and "scores".
    """
    records = records_of(history)
    steps = [r for r in records if "scores" not in r]
    plots = []
    losses = _series(steps, lambda name: name == "loss" or name.startswith("loss/"))
    if len(losses) == 2:  # one loss and its total are the same curve
        losses.pop("loss", None)
    if losses:
        plots.append(_panel("Loss", losses, percent=False))
    scored = [
        {"step": r["step"]} | {name: s["value"] for name, s in r["scores"].items()}
        for r in records
        if "scores" in r
    ]
    if len(scored) > 1:
        wanted = [name for name in scored[-1] if name.endswith(MAIN)][: len(KINDS)]
        found = _series(scored, lambda name: name in wanted)
        if found:
            plots.append(_panel("Scores during training", found, percent=True))
    return f'<div class="panels">{"".join(plots)}</div>' if plots else ""


def _series(records: Sequence[Mapping[str, Any]], wanted: Any) -> dict[str, np.ndarray]:
    """{name: float[N, 2] of steps and finite values}, in the order of appearance."""
    found: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for name, value in record.items():
            if name != "step" and wanted(name) and isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(name, []).append((record["step"], value))
    return {name: np.array(points, float) for name, points in found.items()}


def _panel(title: str, series: Mapping[str, np.ndarray], percent: bool) -> str:
    kept = dict(list(series.items())[: len(KINDS)])
    every = np.concatenate(list(kept.values()))
    low, high = every[:, 1].min(), every[:, 1].max()
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    low = 0.0 if 0 <= low < 0.6 * high else low - room
    frame = Frame(every[:, 0].min(), max(every[:, 0].max(), every[:, 0].min() + 1), low, high + room)
    drawn = [frame.axes("step", percent)]
    for kind, points in zip(KINDS, kept.values()):
        x, mean, least, most = _thinned(points)
        if len(points) > POINTS:
            drawn.append(frame.band(x, least, most, kind))
        drawn.append(frame.line(x, mean, kind))
        if len(points) < 25:
            drawn += [
                f'<circle class="dot {kind}" cx="{frame.x(a):.1f}" cy="{frame.y(b):.1f}" r="3"/>'
                for a, b in zip(x, mean)
            ]
    names = [(kind, readable(name.removeprefix("loss/"))) for kind, name in zip(KINDS, kept)]
    keys = legend(names) if len(names) > 1 else ""
    return (
        f'<figure class="panel"><figcaption>{title}</figcaption>{keys}'
        f"{frame.svg(*drawn, label=title)}</figure>"
    )


def _thinned(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Steps, means, least and largest values over at most `POINTS` stretches of a curve."""
    parts = np.array_split(points, min(POINTS, len(points)))
    x = np.array([part[:, 0].mean() for part in parts])
    y = np.array([[part[:, 1].mean(), part[:, 1].min(), part[:, 1].max()] for part in parts])
    return x, y[:, 0], y[:, 1], y[:, 2]
