"""What a comparison leaves in its folder for people: table.md, comparison.png and .svg, gates, report.html.

Comparison -> files
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium.data.sample import Sample
from sensorium.media import MediaError, Source
from sensorium.recipes.comparison import Comparison
from sensorium.training.history import write_text
from sensorium.viewing import comparison as figure
from sensorium.viewing.comparison_table import html, markdown
from sensorium.viewing.gates import Gates
from sensorium.viewing.gates import save as save_gates
from sensorium.viewing.page import Section, page
from sensorium.viewing.svg import esc

MOST_ROWS = 400  # whose gates are drawn


def write(folder: Path, found: Comparison) -> list[Path]:
    """Write them, and return their paths, the report last."""
    compared = found.compared
    table = folder / "table.md"
    write_text(table, markdown(compared))
    drawn = figure.save(folder, compared)
    sections = [
        Section("Figure", _image(drawn[1], f"ways of fusing on {compared.task}")),
        Section("Table", html(compared)),
    ]
    gates = gates_of(found)
    for one in gates:
        drawn.append(save_gates(folder / f"gates_{one.name}.png", one))
    if gates:
        note = (
            "How much the fusion takes of each column, of the first seed: shares of a row's gates. What a gate lets "
            "through is not yet what it is worth; that is what the Shapley values say."
        )
        images = "".join(_image(folder / f"gates_{one.name}.png", f"gates of {one.name}") for one in gates)
        sections.append(Section("Gates", images, note))
    if found.left_out:
        rows = "".join(
            f"<div><dt>{esc(kind)}</dt><dd>{esc(why)}</dd></div>" for kind, why in found.left_out.items()
        )
        sections.append(Section("Left out", f'<dl class="facts">{rows}</dl>'))
    report = folder / "report.html"
    title = f"Ways of fusing: {compared.task}"
    write_text(report, page(title, compared.about, "", sections))
    return [folder / "comparison.json", table, *drawn, report]


def gates_of(found: Comparison) -> list[Gates]:
    """Of the kinds that have gates: those of the first seed without modality dropout."""
    rows = found.rows[:MOST_ROWS]
    labels = [_said(sample.fields.get(found.task.field)) for sample in rows]
    pictures: list[np.ndarray | None] | None = None
    made = []
    for trial, one in found.outcomes.items():
        if one.gates is None or trial.seed or trial.drop or len(trial.columns) < 2:
            continue
        if pictures is None:
            pictures = pictures_of(rows)
        shown = pictures if any(picture is not None for picture in pictures) else []
        made.append(Gates(trial.kind, trial.columns, one.gates[: len(rows)], labels, shown))
    return made


def pictures_of(rows: Sequence[Sample]) -> list[np.ndarray | None]:
    """The first picture of each record, None where it has none that can be opened."""
    found: list[np.ndarray | None] = []
    for sample in rows:
        names = [name for name in sample.columns if sample.modality[name] == "image"]
        media = sample.columns[names[0]] if names else None
        try:
            media = media.decode() if isinstance(media, Source) else media
        except MediaError:
            media = None
        found.append(media if isinstance(media, np.ndarray) else None)
    return found


def _said(answer: object) -> str:
    if isinstance(answer, list | tuple):
        return ", ".join(map(str, answer))
    return "unknown" if answer is None else f"{answer:.3g}" if isinstance(answer, float) else str(answer)


def _image(path: Path, about: str) -> str:
    kind = {".png": "image/png", ".svg": "image/svg+xml"}[path.suffix]
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img src="data:{kind};base64,{data}" alt="{esc(about)}" style="width:100%;height:auto">'
