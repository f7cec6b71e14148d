"""The model card of a checkpoint, written from the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sensorium.evaluation.generated import BLIND, LOWER
from sensorium.training.preflight import Preflight
from sensorium.training.run import Run


def card(
    run: Run,
    report: Preflight,
    step: int,
    frozen: Mapping[str, Mapping[str, Any]],
    evaluation: tuple[int, Mapping[str, Mapping[str, Any]]] | None,
) -> str:
    """README.md of a checkpoint: what it is, what it was trained on, how, and how well it does.

    frozen:     the frozen parts, as in system.json
    evaluation: the step of the newest evaluation and its scores, as in metrics.json
    """
    passes = step * run.accumulate / run.epoch_batches
    lines = [
        f"# {run.name}",
        "",
        f"System `{run.system}`, trained for {step} of {run.total_steps} steps of "
        f"{run.batch_size * run.accumulate} rows ({passes:.2f} passes over {len(run.data):,} items).",
        "",
        "## Scores",
        "",
        *score_lines(evaluation, step),
        "",
        "## Data",
        "",
        run.data_card or "The run says nothing of its data.",
        "",
        "The first batch:",
        "",
        "```",
        report.batch,
        "```",
        "",
        "## Parts",
        "",
        "```",
        report.table(),
        "```",
        "",
    ]
    if frozen:
        lines += [
            "Not in this folder, referred to by source and sha256:",
            "",
            *(
                f"- `{part or 'model'}` from `{about['source']}`, {about['tensors']} tensors, "
                f"`{about['sha256']}`"
                for part, about in frozen.items()
            ),
            "",
        ]
    lines += [
        "## Settings",
        "",
        "```json",
        json.dumps(run.settings(), indent=1),
        "```",
        "",
    ]
    return "\n".join(lines)


def score_lines(evaluation: tuple[int, Mapping[str, Mapping[str, Any]]] | None, step: int) -> list[str]:
    if evaluation is None:
        return ["Not evaluated."]
    scored_at, scores = evaluation
    lines = [] if scored_at == step else [f"Of step {scored_at}, before this checkpoint.", ""]
    lines += [
        "| score | value | 95 % interval | blind | chance | closed form | n |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, score in scores.items():
        low, high = _number(score.get("low")), _number(score.get("high"))
        others = [score.get(field) for field in ("chance", "closed_form", "n")]
        cells = [_number(value) for value in (score.get("value"), _blind(score), *others)]
        lines.append(f"| {name} | {cells[0]} | {low} – {high} | {' | '.join(cells[1:])} |")
    lines += [
        "",
        "*Blind* is the same evaluation with the media withheld or shuffled: what a model that sees nothing "
        "gets; of several such numbers (media withheld, media shuffled, the most frequent answer), the best.",
    ]
    return lines


def _blind(score: Mapping[str, Any]) -> float | None:
    """The best of the blind numbers that a score has."""
    found = [score[field] for field in ("blind", *BLIND) if score.get(field) is not None]
    best = min if score.get("unit") in LOWER else max
    return best(found, default=None)


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
