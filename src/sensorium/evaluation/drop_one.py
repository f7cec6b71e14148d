"""Drop-one: what each modality contributes to a query, or to a question, that is asked in several at once.

{column: vectors}, present -> fused query -> retrieval; again without each column; again with each alone
conversations -> the model's answers -> a scorer; again without each modality; again with each alone
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sensorium.evaluation.blind import Answer, Conversation, media_parts, withheld
from sensorium.evaluation.generated import Baselines, GeneratedScore, Scorer, score_of
from sensorium.evaluation.retrieval import Embedded, Meanings, keys_of, retrieval_scores, unit
from sensorium.evaluation.scores import Score

Fuse = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def mean_of_units(vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    """{column: float[N, D]} -> unit float32[N, D]: the direction of the sum of the columns' unit vectors."""
    return unit(np.sum([unit(v) for v in vectors.values()], axis=0))


def drop_one(
    vectors: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
    meanings: Meanings,
    gallery: Embedded,
    fuse: Fuse = mean_of_units,
    k: int = 1,
    groups: Sequence | np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Score]:
    """R@k of the fused query, then with each column dropped in turn, then of each column alone.

    vectors: {column: float[N, D]}, rows of a column that are not `present` are not looked at
    present: {column: bool[N]}
    gallery: the column searched; it must not be among the query's

    Returns "all.R@1", "without_<column>.R@1", "only_<column>.R@1". Every number is measured on the same
    rows, those that have all query columns, so that the differences are the columns' doing and not the rows'.
    """
    if len(vectors) < 2:
        raise ValueError(f"drop_one: got the query columns {list(vectors)}; expected at least two")
    if set(vectors) != set(present):
        raise ValueError(f"present: got {sorted(present)}; expected one mask for each of {sorted(vectors)}")
    rows = np.flatnonzero(np.logical_and.reduce([present[column] for column in vectors]))
    if len(rows) == 0:
        raise ValueError(f"no row has all of the columns {', '.join(vectors)}; drop one needs such rows")
    whole = {column: v[rows] for column, v in vectors.items()}
    keys = keys_of(meanings)
    kept = [keys[row] for row in rows]
    kept_groups = None if groups is None else np.asarray(groups)[rows]

    scores = {}
    for name, used in variants(list(whole)).items():
        asked = Embedded(fuse({column: whole[column] for column in used}), kept, kept_groups)
        scores[f"{name}.R@{k}"] = retrieval_scores(asked, gallery, ks=(k,), seed=seed)[f"R@{k}"]
    return scores


def drop_one_answers(
    answer: Answer,
    conversations: Sequence[Conversation],
    modalities: Sequence[str],
    scorer: Scorer,
    groups: Sequence | np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, GeneratedScore]:
    """A conversation model's scores with all media, then with each modality taken out, then with one alone.

    answer:        conversations -> their answers
    conversations: every one has media of all these modalities (so that each number is over the same items)
    modalities:    two or more of "image", "audio", "video", "state"; media of others stay in all variants
    scorer:        of the answers: `ExactMatch`, `CaptionScores`, `ErrorRates`

    Returns "all.accuracy", "without_image.accuracy", "all.<kind>.accuracy" … The margin of each variant with
    a part is over `blind_withheld`: the same model with none of the modalities.
    """
    if len(modalities) < 2:
        raise ValueError(f"drop_one_answers: got the modalities {list(modalities)}; expected at least two")
    for n, conversation in enumerate(conversations):
        if missing := set(modalities) - {part["type"] for part in media_parts(conversation)}:
            raise ValueError(
                f"conversation {n} has no {', '.join(sorted(missing))}; drop one needs conversations with all "
                f"of {', '.join(modalities)}"
            )
    without = scorer(answer([withheld(c, modalities) for c in conversations]))
    scores = {}
    for name, used in variants(modalities).items():
        gone = [modality for modality in modalities if modality not in used]
        for metric, measured in scorer(answer([withheld(c, gone) for c in conversations])).items():
            baselines = Baselines(blind_withheld=without[metric])
            scores[f"{name}.{metric}"] = score_of(measured, baselines, groups, seed=seed)
    return scores


def variants(columns: Sequence[str]) -> dict[str, list[str]]:
    """{"all": every column, "without_<column>": the others, "only_<column>": one}."""
    kept = {"all": list(columns)}
    kept |= {f"without_{dropped}": [c for c in columns if c != dropped] for dropped in columns}
    if len(columns) > 2:  # with two, "only" one is "without" the other
        kept |= {f"only_{column}": [column] for column in columns}
    return kept
