"""Blind baselines: what a model's answers are worth when it does not look.

conversations -> conversations without media, or with another's -> the same model -> scores side by side

    blind = Blind.of(answer, conversations, media=picture_ids)
    blind = blind.with_majority(kinds, training_kinds, training_answers)
    blind = blind.with_copy(nearest_copy(vectors, training_vectors, training_answers, kinds, training_kinds))
    scores = beside_blind(ExactMatch(right, kinds), answer(conversations), blind, groups=picture_ids)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sensorium.evaluation.generated import Baselines, GeneratedScore, Scorer, one_each, score_of
from sensorium.evaluation.retrieval import CHUNK_NUMBERS, unit

Conversation = Sequence[Mapping]  # messages: {"role": …, "content": str | [{"type": "image", "image": …}, …]}
Answer = Callable[[Sequence[Conversation]], Sequence[str]]
SHUFFLES = 2  # runs of the whole model, which cost as much as the evaluation itself


@dataclass(frozen=True)
class Blind:
    """Baseline answers to N questions; what was not run is None or empty.

    withheld, majority, copy: N answers; shuffled: N answers a shuffle
    """

    withheld: Sequence[str] | None = None
    shuffled: Sequence[Sequence[str]] = ()
    majority: Sequence[str] | None = None
    copy: Sequence[str] | None = None

    @classmethod
    def of(
        cls,
        answer: Answer,
        conversations: Sequence[Conversation],
        media: Sequence[Hashable],
        shuffles: int = SHUFFLES,
        seed: int = 0,
    ) -> Blind:
        """Ask the model again with the media taken out, and `shuffles` times with another item's.

        answer: conversations -> their answers; media: which media each conversation shows, as for `deranged`
        """
        runs = [[swapped(conversations[n], conversations[other]) for n, other in enumerate(order)]
                for order in (deranged(media, seed + s) for s in range(shuffles))]  # fmt: skip
        return cls(answer([withheld(c) for c in conversations]), [answer(run) for run in runs])

    def with_majority(
        self, kinds: Sequence[str], seen_kinds: Sequence[str], seen_answers: Sequence[str]
    ) -> Blind:
        """With the answers of `majority` beside."""
        return replace(self, majority=majority(kinds, seen_kinds, seen_answers))

    def with_copy(self, answers: Sequence[str]) -> Blind:
        """With the answers of `nearest_copy` beside."""
        return replace(self, copy=answers)


def beside_blind(
    scorer: Scorer,
    answers: Sequence[str],
    blind: Blind,
    names_only: Mapping[str, float] | None = None,
    groups: Sequence | np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, GeneratedScore]:
    """Every metric of the scorer, each with its interval, its baselines and its margin over the blind.

    names_only: {name of a score: the number of `names_only`}, for spatial questions
    groups:     see `scores.interval`: questions about the same picture are not independent
    """
    measured = scorer(answers)
    without, most, copied = (
        scorer(texts) if texts is not None else {} for texts in (blind.withheld, blind.majority, blind.copy)
    )
    shuffled = [scorer(texts) for texts in blind.shuffled]
    references = names_only or {}
    if unknown := [name for name in references if name not in measured]:
        raise ValueError(f"names_only: got {', '.join(unknown)}; there are {', '.join(measured)}")
    return {
        name: score_of(
            one,
            Baselines(
                without.get(name),
                [run[name] for run in shuffled],
                most.get(name),
                copied.get(name),
                references.get(name),
            ),
            groups,
            seed=seed,
        )
        for name, one in measured.items()
    }


def withheld(conversation: Conversation, modalities: Iterable[str] | None = None) -> list[dict]:
    """The conversation without its media parts, or without those of some modalities; its words stay."""
    gone = None if modalities is None else set(modalities)
    made = []
    for message in conversation:
        content = message["content"]
        if not isinstance(content, str):
            content = [
                p for p in content if _type(p) == "text" or (gone is not None and _type(p) not in gone)
            ]
        made.append({**message, "content": content})
    return made


def swapped(conversation: Conversation, other: Conversation) -> list[dict]:
    """The conversation with the other's media: its n-th picture becomes the other's n-th, and so on.

    Where the other has fewer of a modality they come round again; one of which it has none is taken out.
    """
    offered: dict[str, list[Mapping]] = {}
    for part in media_parts(other):
        offered.setdefault(part["type"], []).append(part)
    used: Counter[str] = Counter()
    made = []
    for message in conversation:
        content = message["content"]
        if not isinstance(content, str):
            parts = []
            for part in content:
                kind = _type(part)
                if kind == "text":
                    parts.append(part)
                elif kind in offered:
                    parts.append(offered[kind][used[kind] % len(offered[kind])])
                    used[kind] += 1
            content = parts
        made.append({**message, "content": content})
    return made


def media_parts(conversation: Conversation) -> list[Mapping]:
    """All parts of a conversation that are not text, in order."""
    contents = (m["content"] for m in conversation if not isinstance(m["content"], str))
    return [part for content in contents for part in content if _type(part) != "text"]


def _type(part: Mapping | str) -> str:
    """A part may be a text by itself."""
    return "text" if isinstance(part, str) else part["type"]


def deranged(media: Sequence[Hashable], seed: int = 0) -> np.ndarray:
    """int64[N]: for each item, another one whose media it is shown instead.

    media: N keys; items with the same key show the same media (several questions about one picture). They
           get the same other media, and never their own: one random cycle runs through all keys.
    """
    first: dict[Hashable, int] = {}
    for n, key in enumerate(media):
        first.setdefault(key, n)
    if len(first) < 2:
        raise ValueError(
            f"media: got {len(first)} different key(s) for {len(media)} items; expected at least 2"
        )
    cycle = np.random.default_rng(seed).permutation(len(first))
    after = np.empty_like(cycle)
    after[cycle] = np.roll(cycle, -1)
    number, items = {key: n for n, key in enumerate(first)}, list(first.values())
    return np.array([items[after[number[key]]] for key in media], np.int64)


def majority(kinds: Sequence[str], seen_kinds: Sequence[str], seen_answers: Sequence[str]) -> list[str]:
    """For each question the most frequent training answer to its kind; of several the first in the alphabet."""
    one_each("seen_answers", seen_answers, len(seen_kinds), "of seen_kinds")
    counts: dict[str, Counter[str]] = {}
    for kind, said in zip(seen_kinds, seen_answers):
        counts.setdefault(kind, Counter())[said] += 1
    if missing := sorted(set(kinds) - set(counts)):
        raise ValueError(f"kinds: {', '.join(missing)} not among seen_kinds ({', '.join(sorted(counts))})")
    best = {kind: min(found, key=lambda said: (-found[said], said)) for kind, found in counts.items()}
    return [best[kind] for kind in kinds]


def nearest_copy(
    vectors: np.ndarray,
    seen_vectors: np.ndarray,
    seen_answers: Sequence[str],
    kinds: Sequence[str] | None = None,
    seen_kinds: Sequence[str] | None = None,
) -> list[str]:
    """For each item the answer (or caption) of the training item whose vector is nearest by cosine.

    vectors, seen_vectors: float[N, D], float[M, D]: the frozen encoder's features, before any training
    seen_answers:          M texts
    kinds, seen_kinds:     copy only from training items of the same kind (the same question about another
                           picture); without them from all
    """
    one_each("seen_answers", seen_answers, len(seen_vectors), "of seen_vectors")
    if (kinds is None) != (seen_kinds is None):
        raise ValueError("kinds and seen_kinds: got one of them; expected both or neither")
    asked = np.array(kinds if kinds is not None else [""] * len(vectors))
    seen = np.array(seen_kinds if seen_kinds is not None else [""] * len(seen_vectors))
    if len(asked) != len(vectors) or len(seen) != len(seen_vectors):
        raise ValueError(
            f"kinds: got {len(asked)} for {len(vectors)} items and {len(seen)} for {len(seen_vectors)} "
            "training items; expected one each"
        )
    queries, gallery = unit(vectors), unit(seen_vectors)
    copied = [""] * len(vectors)
    for kind in np.unique(asked).tolist():
        rows, candidates = np.flatnonzero(asked == kind), np.flatnonzero(seen == kind)
        if len(candidates) == 0:
            raise ValueError(f"kinds: {kind!r} not among seen_kinds; there is nothing to copy from")
        part = gallery[candidates]
        step = max(1, CHUNK_NUMBERS // len(candidates))
        for start in range(0, len(rows), step):
            chunk = rows[start : start + step]
            nearest = candidates[(queries[chunk] @ part.T).argmax(1)]
            for row, item in zip(chunk, nearest):
                copied[row] = seen_answers[item]
    return copied


def names_only(naming: float, candidates: Sequence[int], right: Sequence[int] | None = None) -> float:
    """What a model gets on "what is left of X?" that names as well as this one and is blind to place.

    naming:     its accuracy at naming a single thing, in [0, 1]
    candidates: for each question, the things of the scene that could be the answer (all but X)
    right:      for each question, how many of them are right; one by default

    naming × mean(right / candidates): it picks one of the candidates at random and names it as well as it
    names anything. With two things in a scene a namer without any sense of place is always right, so a claim
    of spatial skill starts above this number. Yes/no questions have no such floor: their majority is one.
    """
    among = np.asarray(candidates, float)
    hits = np.ones_like(among) if right is None else np.asarray(right, float)
    if not 0 <= naming <= 1:
        raise ValueError(f"naming: got {naming}; expected a fraction in [0, 1]")
    if len(among) == 0 or hits.shape != among.shape or (among < 1).any() or (hits > among).any():
        raise ValueError(
            "candidates, right: expected for each question at least one candidate, and no more right ones"
        )
    return float(naming * (hits / among).mean())
