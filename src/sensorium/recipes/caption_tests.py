"""How well a language model describes with retrieval: the consensus of what a picture may be called.

captions, scores, log p of the language model ──► chances ──► the caption of the largest expected ROUGE-L
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sensorium.evaluation.blind import Blind, beside_blind, deranged
from sensorium.evaluation.captions import rouge_l
from sensorium.evaluation.consensus import agreement, consensus
from sensorium.evaluation.generated import GeneratedScore
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.recipes.retrieval_tests import (
    BRIEF,
    HELD,
    CaptionMeasures,
    Ranked,
    Runs,
    Said,
    beside,
    head_noun,
    others,
    rank,
    share,
)

TRUSTS = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0)  # nats a unit of score
BELIEFS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)  # nats a nat of the language model


@dataclass(frozen=True)
class Belief:
    """How likely each caption is held to be the right one.

    softmax(trust · score + belief · log p), log p the language model's of the whole caption; belief 0 is retrieval
    alone, trust 0 is the language model alone, among what was retrieved
    """

    trust: float
    belief: float

    def chances(self, cosines: np.ndarray, totals: np.ndarray) -> np.ndarray:
        """float[K]"""
        nats = self.trust * cosines + self.belief * totals
        chances = np.exp(nats - nats.max())
        return np.asarray(chances / chances.sum())

    def __str__(self) -> str:
        chances = f"softmax({self.trust:g} · score + {self.belief:g} · log p)"
        return f"the consensus under {chances}, chosen on validation pictures"


LANGUAGE_MODEL = Belief(0.0, 1.0)


@dataclass(frozen=True)
class Offered:
    """The captions that N items may have, what speaks for them, and float[K, K] how far those of an item agree."""

    ranked: Ranked
    agreed: list[np.ndarray]

    @classmethod
    def of(cls, ranked: Ranked) -> Offered:
        return cls(ranked, [agreement(texts) for texts in ranked.texts])

    @classmethod
    def without_model(cls, items: Sequence[Any]) -> Offered:
        """By retrieval alone: all are as likely to the language model."""
        texts = [item.found.captions for item in items]
        cosines = np.array([item.found.scores for item in items])
        return cls.of(Ranked(texts, np.zeros_like(cosines), np.zeros_like(cosines), cosines))

    def consensus(self, belief: Belief) -> list[str]:
        """The caption of each item that is expected to have the largest ROUGE-L."""
        each = zip(self.ranked.texts, self.ranked.cosines, self.ranked.totals, self.agreed)
        return [
            texts[consensus(agreed, belief.chances(cosines[: len(texts)], totals[: len(texts)]))]
            for texts, cosines, totals, agreed in each
        ]


@dataclass(frozen=True)
class CaptionTest:
    """Captions by head noun and against the one reference.

    validation: items that did not train the language model, by which it is chosen how far to believe it; not needed
                where `rule` is given
    trust:      how far to trust retrieval, likewise (`chosen_trust`)
    fixed:      the caption to say of any picture, as a blind baseline; None: not measured
    brief:      leave out what is costly and says little more
    """

    name: str
    items: Sequence[Any]
    validation: Sequence[Any] = ()
    trust: float = 0.0
    rule: Belief | None = None
    fixed: str | None = None
    brief: bool = False

    def said(self, model: MultimodalLM, collate: Any) -> Said:
        rule = self.rule or self._chosen(model, collate)
        runs = Runs(model, collate, self.items)
        asked = rule.belief or not self.brief  # else what the language model holds likely is not looked at
        offered = Offered.of(runs.ranked("as they are")) if asked else Offered.without_model(self.items)
        copy = [item.found.nearest for item in self.items]
        fixed = None if self.fixed is None else [self.fixed] * len(self.items)
        texts = {
            "chooses": offered.consensus(rule),
            "retrieval_consensus": offered.consensus(replace(rule, belief=0.0)),
            "retrieval": [item.found.captions[0] for item in self.items],
            "writes_with_retrieval": runs.written("as they are"),
        }
        blind = {
            who: Blind(runs.written("nothing"), [others(self.items, texts[who])], fixed, copy)
            for who in ("chooses", "writes_with_retrieval")
        }
        if not self.brief:
            without, other = (
                Offered(runs.ranked(condition), offered.agreed)
                for condition in ("no picture", "other picture")
            )
            texts |= {
                "ranks_retrieved": offered.consensus(LANGUAGE_MODEL),
                "chooses.no_picture": without.consensus(rule),
                "chooses.other_picture": other.consensus(rule),
                "writes": runs.written("plain"),
                "writes_with_retrieval.other_picture": runs.written("other picture"),
            }
        return Said(texts, blind, str(rule))

    def scores(self, said: Said) -> dict[str, GeneratedScore]:
        right = CaptionMeasures([item.answer for item in self.items], BRIEF if self.brief else HELD)
        scores = beside(right, said, [item.found.nearest for item in self.items], "ROUGE-L")
        offered = [head_noun(i.answer) in {head_noun(c) for c in i.found.captions} for i in self.items]
        scores["among_retrieved.head_noun"] = share(offered)
        return {f"{self.name}.{name}": score for name, score in scores.items()}

    def _chosen(self, model: MultimodalLM, collate: Any) -> Belief:
        beliefs = [Belief(self.trust, belief) for belief in BELIEFS]
        return best(beliefs, Offered.of(rank(model, collate, self.validation)), measure_of(self.validation))


def chosen_trust(items: Sequence[Any]) -> float:
    """How far to trust retrieval, by items of which it alone decides; the language model may know them."""
    beliefs = [Belief(trust, 0.0) for trust in TRUSTS]
    return best(beliefs, Offered.without_model(items), measure_of(items)).trust


def described_scores(
    name: str, items: Sequence[Any], texts: Mapping[str, Sequence[str]], fixed: str | None = None
) -> dict[str, GeneratedScore]:
    """What several said of the same items, beside the copy, what they say of another thing, and a fixed caption.

    texts: {by whom: what was said of each}. Pictures of one thing are drawn together, for they are described alike.
    """
    right = CaptionMeasures([item.answer for item in items], BRIEF)
    things = [item.picture.fields["thing"] for item in items]
    order = deranged(things).tolist()
    most = None if fixed is None else [fixed] * len(items)
    copy = [item.found.nearest for item in items]
    return {
        f"{name}.{who}.{metric}": score
        for who, said in texts.items()
        for metric, score in beside_blind(
            right, said, Blind(None, [[said[other] for other in order]], most, copy), groups=things
        ).items()
    }


def measure_of(items: Sequence[Any]) -> CaptionMeasures:
    return CaptionMeasures([item.answer for item in items], ("ROUGE-L",))


def best(beliefs: Sequence[Belief], offered: Offered, measure: Any) -> Belief:
    """Under which the consensus has the largest ROUGE-L; of equal ones the first."""
    return max(beliefs, key=lambda belief: measure(offered.consensus(belief))["ROUGE-L"].value)


def fixed_caption(captions: Sequence[str]) -> str:
    """The one of these that agrees most with all of them: the best that can be said without looking."""
    counts = Counter(captions)
    different = list(counts)
    return different[consensus(rouge_l(different, different), np.array(list(counts.values()), float))]
