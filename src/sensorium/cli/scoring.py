"""`sensorium evaluate`: a checkpoint and data -> a printed table, and a JSON file when asked."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import torch

from sensorium.data.feature_cache import FeatureCache
from sensorium.data.quarantine import Quarantine
from sensorium.data.readers import read
from sensorium.data.readers.conversations import read_conversations
from sensorium.evaluation import generated, scores
from sensorium.evaluation.answers import ExactMatch
from sensorium.evaluation.blind import Blind, beside_blind
from sensorium.evaluation.generated import GeneratedScore
from sensorium.evaluation.retrieval import Embedded, between
from sensorium.evaluation.scores import Score
from sensorium.facade import Assistant, SharedSpace, load
from sensorium.recipes.bundled_tests import TESTS, BundledTests
from sensorium.recipes.quickstart_answers import SCENES, SPLIT
from sensorium.recipes.scene_questions import SceneTest, collator
from sensorium.weights import cache_folder

QUARANTINE = Path("quarantine.jsonl")


def evaluate_checkpoint(checkpoint: Path, data: str, out: Path | None, limit: int | None) -> None:
    """Print the scores of a checkpoint on bundled or on the user's own data."""
    model = load(checkpoint)
    found: dict[str, Any]
    if isinstance(model, Assistant):
        found = score_answers(model, data, limit)
        generated.table(found, title=f"{checkpoint} on {data}")
    else:
        found = score_searches(model, data, limit)
        scores.table(found, title=f"{checkpoint} on {data}")
    if out is not None:
        scores.save(out, found)
        print(f"written: {out}")


def score_answers(assistant: Assistant, data: str, limit: int | None) -> dict[str, GeneratedScore]:
    """Answers to questions about scenes by an artist never seen, or to those of a file of conversations.

    The last answer of each conversation is asked for, decoded greedily and counted right when it is that answer.
    """
    if data == "scenes":
        found = SceneTest.of(SPLIT, limit or SCENES, shuffles=1).scores(
            assistant.model, collator(assistant.model)
        )
        return {f"scenes.{SPLIT}.{name}": score for name, score in found.items()}
    if data in ("emoji", "stamps"):
        raise ValueError(
            f"{data!r} is for searching, this checkpoint answers questions; give 'scenes' or a file of conversations"
        )
    asked: list[Any] = [sample.columns["messages"] for sample in islice(read_conversations(Path(data)), limit)]
    prompts: list[Any] = [messages[:-1] for messages in asked]
    right = ExactMatch([str(messages[-1]["content"]) for messages in asked])
    blind = Blind.of(assistant.answers, prompts, media=list(range(len(prompts))), shuffles=1)
    return beside_blind(right, assistant.answers(prompts), blind)


def score_searches(space: SharedSpace, data: str, limit: int | None) -> dict[str, Score]:
    """Retrieval on the bundled test splits or on the user's own media."""
    if data not in ("emoji", "stamps"):
        return score_samples(space, data, limit)
    names = [name for name in TESTS if name.startswith(data)]
    cache = FeatureCache(cache_folder() / "features")
    return BundledTests.prepare(space.model, cache, names, limit=limit).scores(space.model)


def score_samples(space: SharedSpace, data: str, limit: int | None) -> dict[str, Score]:
    """Retrieval between every pair of modalities of the user's records. Raises ValueError where none can be scored."""
    samples = list(islice(iter(read(data)), limit))
    cache, quarantine = FeatureCache(cache_folder() / "features"), Quarantine(QUARANTINE)
    columns = {}
    for column in dict.fromkeys(column for sample in samples for column in sample.columns):
        modality = next(sample.modality[column] for sample in samples if column in sample.columns)
        if modality not in space.column_of:
            continue
        encoder: Any = space.model.encoders[space.column_of[modality]]
        cached = cache.of_samples(encoder, samples, column, quarantine=quarantine)
        kept = [(row, sample) for sample in samples if (row := cached.row(sample.id)) is not None]
        with torch.no_grad():
            vectors = space.model.embed(space.column_of[modality], cached[[row for row, _ in kept]]).numpy()
        columns[column] = Embedded(vectors, [sample.meanings for _, sample in kept])
    if quarantine.bad:
        print(f"{quarantine.bad} files could not be decoded and are left out: see {QUARANTINE}")
    found = between(columns) if len(columns) > 1 else {}
    if not found:
        raise ValueError(
            f"{data}: got the columns {sorted(columns)} with nothing to match; expected media with captions beside "
            "them (x.jpg and x.txt), or a table with a column for each modality"
        )
    return found
