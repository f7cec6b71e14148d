"""`sensorium evaluate` of fusion networks: answers to tasks, on a puzzle or on the user's own labelled data."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, Literal

from sensorium.data.batch import Collator
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.puzzles import PUZZLES
from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Sample
from sensorium.evaluation.generated import GeneratedScore
from sensorium.facade import Predictor
from sensorium.facade.matching import read_for
from sensorium.recipes.fusion_data import scores_of
from sensorium.recipes.labels import answered
from sensorium.weights import cache_folder

QUARANTINE = Path("quarantine.jsonl")


def score_predictions(predictor: Predictor, data: str, limit: int | None) -> dict[str, GeneratedScore]:
    """The answers to a puzzle's test rows or to the user's, beside the same model without looking.

    The majority is the most frequent answer of these very rows: of all who do not look, the one who guesses best.
    Raises ValueError for data without answers to what this model is asked.
    """
    samples = _of_puzzle(predictor, data, limit) if data in PUZZLES else _own(predictor, data, limit)
    fields = [task.field for task in predictor.tasks]
    if not any(sample.fields.get(field) is not None for sample in samples for field in fields):
        there = dict.fromkeys(name for sample in samples for name in sample.fields)
        raise ValueError(
            f"{data}: no answers to score by; expected the field {' or '.join(map(repr, fields))}, got "
            f"{', '.join(there) or 'no fields'}. Rename yours, or only predict: sensorium predict {predictor.source} "
            f"{data} --out predictions.csv"
        )
    quarantine = Quarantine(QUARANTINE)
    cache = FeatureCache(cache_folder() / "features")
    what = predictor.what
    dtype: Literal["float16", "float32"] = "float16" if what == "tokens" else "float32"  # as in training
    cached: dict[str, Any] = {
        name: cache.of_samples(encoder, samples, name, what, dtype=dtype, quarantine=quarantine)
        for name, encoder in predictor.model.by_column.items()
        if any(name in sample.columns for sample in samples)
    }
    if quarantine.bad:
        print(f"{quarantine.bad} files could not be decoded and are left out: see {QUARANTINE}")
    collate = Collator(predictor.model.by_column, cached=cached, samples=samples)
    return scores_of(predictor.model, collate, seen=samples)


def _of_puzzle(predictor: Predictor, name: str, limit: int | None) -> list[Sample]:
    puzzle = PUZZLES[name]
    fields = {task.field for task in puzzle.tasks}
    if not fields & {task.field for task in predictor.tasks}:
        raise ValueError(
            f"the puzzle {name} asks for {', '.join(sorted(fields))}; this model answers "
            f"{', '.join(task.name for task in predictor.tasks)}"
        )
    wrong = [c for c, kind in predictor.columns.items() if puzzle.modality.get(c, kind) != kind]
    if wrong or not set(puzzle.modality) & set(predictor.columns):
        raise ValueError(
            f"the puzzle {name} has the columns {', '.join(puzzle.modality)}; this model reads {predictor.reads()}"
        )
    return puzzle.samples("test", limit)


def _own(predictor: Predictor, data: str, limit: int | None) -> list[Sample]:
    if not Path(data).exists():
        raise ValueError(
            f"{data}: no puzzle and no file; the puzzles are {', '.join(PUZZLES)}. For your own data name a folder, "
            "a .jsonl, .csv or .parquet file with the right answers"
        )
    matched = read_for(data, predictor.columns)
    return answered(
        [matched.renamed(sample) for sample in islice(matched.records, limit)], predictor.model.tasks
    )
