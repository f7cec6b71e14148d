"""How well a language model names with retrieval, beside retrieval alone, a copy and blind runs; what it is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sensorium import speed
from sensorium.data.conversation import parse
from sensorium.evaluation.answers import ExactMatch, normalised
from sensorium.evaluation.blind import Blind, beside_blind, deranged
from sensorium.evaluation.captions import CaptionScores
from sensorium.evaluation.generated import GeneratedScore, Measured, margin, score_of
from sensorium.models.decoding import Decoding, decode
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.models.teacher_forcing import forced_answers
from sensorium.objectives.next_token import likelihoods

LAMBDAS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0)  # nats a unit of cosine
WRITING = Decoding(max_tokens=24, stop=("\n",))
HELD = ("BLEU-1", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
BRIEF = ("ROUGE-L", "CIDEr")
BESIDE = {
    "retrieval": "retrieval alone",
    "retrieval_consensus": "the consensus without the language model",
    "ranks_retrieved": "the language model's ranking alone",
    "writes_with_retrieval": "what the language model writes",
    "chooses.no_picture": "the neighbours without the picture",
    "chooses.other_picture": "the neighbours with another picture",
}
_BEFORE = re.compile(
    r"\b(?:of|with|in|on|at|from|for|that|which|who|and|or|wearing|holding|called)\b|[,.(;:!?—]"
)
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Rule:
    """What is chosen of k candidates: the largest of l + weight · cosine.

    mean: l is the mean log-likelihood a token, else their sum
    """

    weight: float
    mean: bool

    def __str__(self) -> str:
        return f"{'mean' if self.mean else 'sum'} log p + {self.weight:g} · cosine, chosen on validation pictures"


@dataclass(frozen=True)
class Ranked:
    """Candidates of N items with what speaks for them: float[N, k]; where an item has fewer, -inf and cosine 0."""

    texts: list[tuple[str, ...]]
    totals: np.ndarray
    means: np.ndarray
    cosines: np.ndarray

    def best(self, rule: Rule) -> list[str]:
        scores = (self.means if rule.mean else self.totals) + rule.weight * self.cosines
        return [texts[place] for texts, place in zip(self.texts, scores.argmax(1).tolist())]


def conditions(items: Sequence[Any]) -> dict[str, list[Any]]:
    """The same items as they are, and with what is withheld or another's."""
    order = deranged([item.row for item in items]).tolist()
    return {
        "as they are": list(items),
        "plain": [replace(item, shown=()) for item in items],
        "no picture": [replace(item, picture=None) for item in items],
        "other picture": [replace(item, picture=items[o].picture) for item, o in zip(items, order)],
        "nothing": [replace(item, picture=None, shown=()) for item in items],
    }


def others(items: Sequence[Any], texts: Sequence[str]) -> list[str]:
    """What is said of the items where each is given another's picture with its neighbours: what is said of that."""
    return [texts[other] for other in deranged([item.row for item in items]).tolist()]


class Runs:
    """A model's answers to items under each of the `conditions`, each worked out once and when it is asked for."""

    def __init__(self, model: MultimodalLM, collate: Any, items: Sequence[Any]) -> None:
        self._of = model, collate
        self.items = conditions(items)
        self._done: dict[tuple[Any, str], Any] = {}

    def ranked(self, condition: str) -> Ranked:
        return self._once(rank, condition)

    def written(self, condition: str) -> list[str]:
        return self._once(write, condition)

    def forced(self, condition: str) -> list[str]:
        return self._once(forced, condition)

    def _once(self, run: Any, condition: str) -> Any:
        if (run, condition) not in self._done:
            self._done[run, condition] = run(*self._of, self.items[condition])
        return self._done[run, condition]


@dataclass(frozen=True)
class Said:
    """What was said of the same N items.

    texts: {by whom: N texts}; "chooses" is the language model with retrieval, "retrieval" is without it
    blind: {by whom: what it says without looking, beside the copy of the nearest picture}
    rule:  how "chooses" chose, in words
    """

    texts: dict[str, list[str]]
    blind: dict[str, Blind]
    rule: str


@dataclass(frozen=True)
class NameTest:
    """Open naming by exact match.

    validation: items by which the rule is chosen; not needed where `rule` is given
    brief:      leave out what is costly and says little more
    """

    name: str
    items: Sequence[Any]
    validation: Sequence[Any] = ()
    rule: Rule | None = None
    brief: bool = False

    def said(self, model: MultimodalLM, collate: Any) -> Said:
        rule = self.rule or self._chosen(model, collate)
        runs = Runs(model, collate, self.items)
        copy = [item.found.nearest for item in self.items]
        chosen = runs.ranked("as they are").best(rule)
        texts = {
            "chooses": chosen,
            "retrieval": [item.found.captions[0] for item in self.items],
            "ranks_retrieved": runs.ranked("as they are").best(Rule(0.0, rule.mean)),
            "writes_with_retrieval": runs.forced("as they are"),
        }
        if not self.brief:
            texts |= {
                "writes": runs.forced("plain"),
                "chooses.no_picture": runs.ranked("no picture").best(rule),
                "chooses.other_picture": runs.ranked("other picture").best(rule),
            }
        blind = Blind(runs.written("nothing"), [others(self.items, chosen)], copy=copy)
        return Said(texts, {"chooses": blind}, str(rule))

    def scores(self, said: Said) -> dict[str, GeneratedScore]:
        right = ExactMatch([item.answer for item in self.items])
        groups = [item.row for item in self.items]
        scores = beside(right, said, [item.found.nearest for item in self.items], "accuracy", groups)
        offered = [any(normalised(c) == normalised(i.answer) for c in i.found.captions) for i in self.items]
        scores["among_retrieved.accuracy"] = share(offered, groups)
        return {f"{self.name}.{name}": score for name, score in scores.items()}

    def _chosen(self, model: MultimodalLM, collate: Any) -> Rule:
        wanted = ExactMatch([item.answer for item in self.validation])
        return chosen_rule(rank(model, collate, self.validation), lambda texts: wanted(texts)["accuracy"])


def beside(
    right: Any, said: Said, copy: Sequence[str], main: str, groups: Sequence[Any] | None = None
) -> dict[str, GeneratedScore]:
    """{"chooses.accuracy": …}; the note of "chooses" tells the margins that no baseline of a score stands for."""
    over = {}
    for name, texts in said.texts.items():
        if name in BESIDE:
            one = margin(right(said.texts["chooses"])[main], [right(texts)[main]], groups)
            low, high = 100 * one.low, 100 * one.high
            over[name] = f"{100 * one.value:+.1f} ({low:.1f} … {high:.1f}) over {BESIDE[name]}"
    note = f"chooses: {said.rule}; {main} " + ", ".join(over.values())
    return {
        f"{name}.{metric}": replace(score, note=note) if name == "chooses" else score
        for name, texts in said.texts.items()
        for metric, score in beside_blind(
            right, texts, said.blind.get(name, Blind(copy=copy)), groups=groups
        ).items()
    }


class CaptionMeasures:
    """captions -> {"head_noun": …, and the held of "BLEU-1", …, "METEOR" (where there is Java), "ROUGE-L", "CIDEr"}"""

    def __init__(self, references: Sequence[str], held: Sequence[str] = HELD) -> None:
        self.held = held
        self.heads = [head_noun(text) for text in references]
        meteor = None if "METEOR" in held else False
        self.captions = CaptionScores([[text] for text in references], tokenizer="simple", meteor=meteor)

    def __call__(self, captions: Sequence[str]) -> dict[str, Measured]:
        hits = [head_noun(text) == head for text, head in zip(captions, self.heads, strict=True)]
        # A caption without a word cannot be scored as one.
        found = self.captions([text if _WORD.search(text) else "nothing" for text in captions])
        return {"head_noun": Measured(np.array(hits, float))} | {
            name: found[name] for name in self.held if name in found
        }


def head_noun(caption: str) -> str:
    """The last word before the first preposition, relative or sign: "A red apple on a plate." -> "apple".

    A rule for short captions, not a parser; the same for model, copy and reference.
    """
    for part in _BEFORE.split(caption.lower()):
        if words := _WORD.findall(part):
            return str(words[-1])
    return ""


def share(hits: Sequence[bool], groups: Sequence[Any] | None = None) -> GeneratedScore:
    """A fraction as a score without baselines: what no chooser can pass."""
    return score_of(Measured(np.array(hits, float)), groups=groups)


def chosen_rule(ranked: Ranked, measure: Any) -> Rule:
    """The rule that is best on validation items; of equal ones the first."""
    rules = [Rule(weight, mean) for mean in (False, True) for weight in LAMBDAS]
    return max(rules, key=lambda rule: measure(ranked.best(rule)).value)


@torch.no_grad()
def rank(model: MultimodalLM, collate: Any, items: Sequence[Any], batch_size: int = 16) -> Ranked:
    """How likely the model holds each of the captions found to be the answer."""
    model.eval()
    k = max(len(item.found.captions) for item in items)
    totals, means = (np.full((len(items), k), -np.inf) for _ in range(2))
    cosines = np.zeros((len(items), k))
    dtype = speed.inference_dtype()
    for start in range(0, len(items), batch_size):
        some = items[start : start + batch_size]
        batch = collate([item.conversation(text) for item in some for text in item.found.captions])
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            total, count = likelihoods(model, batch)
        at = 0
        for row, item in enumerate(some, start):
            n = len(item.found.captions)
            totals[row, :n] = total[at : at + n]
            means[row, :n] = total[at : at + n] / count[at : at + n]
            cosines[row, :n] = item.found.scores
            at += n
    return Ranked([item.found.captions for item in items], totals, means, cosines)


@torch.no_grad()
def write(model: MultimodalLM, collate: Any, items: Sequence[Any], batch_size: int = 32) -> list[str]:
    """What the model writes of its own, greedily."""
    model.eval()
    dtype = speed.inference_dtype()
    said: list[str] = []
    prompts = {prompt_of(item): item for item in items}  # without picture and neighbours all are one
    different = list(prompts.values())
    for start in range(0, len(different), batch_size):
        some = different[start : start + batch_size]
        rows = [collate.renderer.render(parse(item.messages("")[:1]), generation=True) for item in some]
        L = max(map(len, rows))
        embeddings = torch.zeros(len(rows), L, model.backbone.width, dtype=model.backbone.lm.dtype)
        mask = torch.zeros(len(rows), L, dtype=torch.bool)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            for number, (item, row) in enumerate(zip(some, rows)):
                embedded = model.backbone.embed(torch.from_numpy(row.ids))
                for slot in row.slots:
                    cached = collate.cached[slot.name]
                    features = cached.features[cached.rows[item.picture.id, 0]]
                    tokens = model.features(slot.name, features).tokens[0]
                    embedded[slot.start : slot.start + slot.length] = tokens.to(embedded.dtype)
                embeddings[number, L - len(row) :], mask[number, L - len(row) :] = embedded, True
            said += [text.strip() for text in decode(model.backbone, embeddings, mask, WRITING).texts]
    written = dict(zip(prompts, said, strict=True))
    return [written[prompt_of(item)] for item in items]


def prompt_of(item: Any) -> tuple[Any, ...]:
    """What the model is given of an item."""
    return (None if item.picture is None else item.picture.id, item.task, item.shown)


def forced(model: MultimodalLM, collate: Any, items: Sequence[Any], batch_size: int = 32) -> list[str]:
    """What `write` gives where it is right, and something wrong where not (`forced_answers`); one pass, no loop."""
    model.eval()
    dtype = speed.inference_dtype()
    said: list[str] = []
    for start in range(0, len(items), batch_size):
        some = items[start : start + batch_size]
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            said += forced_answers(model, collate([item.conversation(item.answer) for item in some]))
    return said
