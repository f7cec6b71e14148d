"""`sensorium evaluate`: a checkpoint and data -> a printed table, and a JSON file when asked."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import torch

from sensorium.cli.scoring_tasks import score_predictions
from sensorium.cli.trained import main_ones
from sensorium.data.conversation import ConversationError, media_key, parse
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.quarantine import Quarantine
from sensorium.data.readers import read
from sensorium.data.readers.conversations import read_conversations
from sensorium.data.sample import Sample
from sensorium.evaluation import generated, scores
from sensorium.evaluation.answers import ExactMatch
from sensorium.evaluation.blind import Blind, beside_blind, media_parts
from sensorium.evaluation.generated import GeneratedScore
from sensorium.evaluation.retrieval import Embedded, between
from sensorium.evaluation.scores import Score
from sensorium.facade import Assistant, Loaded, Matcher, Predictor, SharedSpace, load
from sensorium.recipes.bundled_tests import TESTS, BundledTests
from sensorium.recipes.quickstart_answers import SCENES, SPLIT
from sensorium.recipes.scene_questions import SceneTest, collator
from sensorium.weights import cache_folder

QUARANTINE = Path("quarantine.jsonl")


def evaluate_checkpoint(checkpoint: Path, data: str, out: Path | None, limit: int | None) -> None:
    """Print the scores of a checkpoint on bundled or on the user's own data."""
    if limit is not None and limit < 1:
        raise ValueError(f"--limit {limit}; expected at least 1")
    model = load(checkpoint)
    found: dict[str, Any] = {}
    if why := unscored(model):
        raise ValueError(f"{checkpoint}: {why}. What it reached stands in metrics.json of its run")
    if isinstance(model, SharedSpace):
        found = score_searches(model, data, limit)
        scores.table(found, title=f"{checkpoint} on {data}")
    elif isinstance(model, Predictor):
        found = score_predictions(model, data, limit)
        generated.table(main_ones(found), title=f"{checkpoint} on {data}")
    elif isinstance(model, Assistant):
        found = score_answers(model, data, limit)
        generated.table(found, title=f"{checkpoint} on {data}")
    if out is not None:
        scores.save(out, found)
        print(f"written: {out}")


def unscored(model: Loaded) -> str:
    """Why a model is scored by nothing here: "" when it is."""
    if isinstance(model, Matcher):
        return "holds BLIP-2's first stage, whose pictures are several vectors; searches are scored with one"
    if isinstance(model, SharedSpace) and len(model.column_of) == 1:
        return f"embeds {next(iter(model.column_of))} alone; scored is how modalities find each other"
    if isinstance(model, Assistant) and not model.converses:
        return "holds a language model that was not taught to answer"
    return ""


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
    if not Path(data).is_file():
        raise ValueError(
            f"{data}: got no file; expected 'scenes', or a .json or .jsonl file of conversations"
        )
    samples = list(islice(read_conversations(Path(data)), limit))
    asked = [_asked(sample) for sample in samples]
    prompts, answers = [messages for messages, _ in asked], [answer for _, answer in asked]
    # Questions about the same media are one for the interval, and are not shown each other's as another's.
    shown = [
        tuple(media_key(part[part["type"]]) for part in media_parts(messages)) or number
        for number, messages in enumerate(prompts)
    ]
    place = {key: number for number, key in enumerate(dict.fromkeys(shown))}
    several = len(place) > 1
    blind = Blind.of(assistant.answers, prompts, shown, shuffles=int(several))
    groups = [place[key] for key in shown] if several else None
    return beside_blind(ExactMatch(answers), assistant.answers(prompts), blind, groups=groups)


def _asked(sample: Sample) -> tuple[list[dict[str, Any]], str]:
    """A conversation -> what stands before its last answer, and that. Raises ValueError for one without it."""
    messages: Any = sample.columns["messages"]
    *before, last = parse(messages, sample.id)
    answer = "".join(part for part in last.parts if isinstance(part, str)).strip()
    if last.role != "assistant" or not answer or not before or before[-1].role != "user":
        raise ConversationError(
            f"{sample.id}: got the roles {', '.join(turn.role for turn in (*before, last))}; expected a question "
            "and, as the last message, the assistant's right answer in words"
        )
    return messages[:-1], answer


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
