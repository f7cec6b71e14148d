"""What `sensorium train` says at the end: the scores, and where the checkpoint is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium.evaluation import generated, scores
from sensorium.evaluation.generated import GeneratedScore, from_entry
from sensorium.evaluation.predictions import MAIN
from sensorium.evaluation.scores import Score
from sensorium.training.loop import Trained


def told(trained: Trained) -> None:
    """Print the scores that stand beside a baseline; metrics.json in the run's folder has all."""
    entries = {name: entry for name, entry in trained.scores.items() if "low" in entry}
    found = {name: from_entry(entry) for name, entry in entries.items()}
    searched = {name: score for name, score in found.items() if isinstance(score, Score)}
    answered = {name: score for name, score in found.items() if isinstance(score, GeneratedScore)}
    if searched:
        scores.table(searched)
    if answered:
        generated.table(main_ones(answered), title="Scores")
    print(f"checkpoint: {trained.checkpoint}")


def main_ones(found: Mapping[str, Any]) -> dict[str, Any]:
    """Of the scores without a column or of one alone, only the metric that models are compared by."""
    return {
        name: score
        for name, score in found.items()
        if not {"without_", "only_"} & {_kind(part) for part in name.split(".")}
        or name.rpartition(".")[2] in MAIN.values()
    }


def _kind(part: str) -> str:
    return next((start for start in ("without_", "only_") if part.startswith(start)), "")
