"""One picture to be named or described, its possible answers, and batches of them to choose from.

Item -> its right answer and its neighbours' captions -> ChoiceBatch
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from sensorium.data import bundled
from sensorium.data.choices import ChoiceBatch
from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.sample import Sample
from sensorium.recipes.neighbours import Neighbours
from sensorium.systems.smol_captioner import PROMPTS

TRUSTS = (0.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0)


@dataclass(frozen=True, eq=False)
class Item:
    """One picture to be named or described.

    row:     its place among the known samples
    picture: what the model is shown, None: nothing
    task:    "name" or "caption"
    answer:  the right one
    found:   what it resembles
    shown:   the first captions of `found`, in the prompt; (): none
    """

    row: int
    picture: Sample | None
    task: str
    answer: str
    found: Neighbours
    shown: tuple[str, ...]

    def nearest(self, k: int) -> Item:
        """The same with the k most similar captions only."""
        found = replace(self.found, captions=self.found.captions[:k], scores=self.found.scores[:k])
        return replace(self, found=found)

    def messages(self, answer: str) -> list[dict[str, Any]]:
        hint = f"Similar pictures: {'; '.join(self.shown)}.\n" if self.shown else ""
        content: list[dict[str, Any]] = [{"type": "text", "text": hint + PROMPTS[self.task]}]
        if self.picture is not None:
            content.insert(0, {"type": "image", "image": self.picture.columns["image"]})
        return [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]

    def conversation(self, answer: str) -> Sample:
        """With the id of its picture, by which a collator finds the picture's features, and the item's row, by which
        it packs the answers of one item: where no picture is shown, too, their prompt is read once."""
        id = "no picture" if self.picture is None else self.picture.id
        messages = {"messages": self.messages(answer)}
        return Sample(id, messages, {"messages": "conversation"}, fields={"row": self.row})


@dataclass(frozen=True)
class Candidate:
    """An answer that an item may be given. worth, prior: as in `ChoiceBatch`"""

    text: str
    worth: float
    prior: float


@dataclass(frozen=True)
class ChoiceCollator:
    """Places of items -> ChoiceBatch: the right answer of each first, then the captions of its neighbours.

    trust: by task the nats that a unit of score speaks for a caption, beside the language model
    plain: share of the items whose prompt holds no neighbours
    wrong: at most so many other answers an item, drawn anew each time; None: all
    """

    collate: ConversationCollator
    items: Sequence[Item]
    trust: Mapping[str, float]
    plain: float = 0.0
    wrong: int | None = None

    def offered(self, place: int) -> tuple[Item, list[Candidate]]:
        """An item, with or without neighbours in its prompt, and its answers."""
        item = self.items[int(place)]
        if random.random() < self.plain:
            item = replace(item, shown=())
        right, *others = candidates(item, self.trust[item.task])
        if self.wrong is not None and len(others) > self.wrong:
            others = random.sample(others, self.wrong)
        return item, [right, *others]

    def conversations(self, place: int) -> list[tuple[str, Any]]:
        """The (id, messages) about one item."""
        item, answers = self.offered(place)
        made = [item.conversation(answer.text) for answer in answers]
        return [(sample.id, sample.columns["messages"]) for sample in made]

    def __call__(self, places: Sequence[int]) -> ChoiceBatch:
        rows, items, right, offered = [], [], [], []
        for number, place in enumerate(places):
            item, answers = self.offered(place)
            rows += [item.conversation(answer.text) for answer in answers]
            items += [number] * len(answers)
            right += [n == 0 for n in range(len(answers))]
            offered += answers
        worth, prior = (torch.tensor([getattr(one, name) for one in offered]) for name in ("worth", "prior"))
        return ChoiceBatch.of(self.collate(rows), torch.tensor(items), torch.tensor(right), worth, prior)


def candidates(item: Item, trust: float) -> list[Candidate]:
    """The right answer, then the neighbours' that say something else.

    Of names one is right and the others are worth nothing; where the right one is not among the neighbours, it is
    no more like the picture than the last of them. Each caption is worth what it shares with the right one, which
    itself is only to be written where it is not among them, since then nobody offers it in a test.
    """
    name = item.task == "name"
    like = dict(zip(map(bundled.normalised, item.found.captions), item.found.scores))
    form = bundled.normalised(item.answer)
    right = Candidate(
        item.answer, 1.0 if name or form in like else -1.0, trust * like.get(form, min(like.values()))
    )
    others = [
        Candidate(text, 0.0 if name else overlap(text, item.answer), trust * score)
        for text, score in zip(item.found.captions, item.found.scores)
        if bundled.normalised(text) != form
    ]
    return [right, *others]


def overlap(one: str, other: str) -> float:
    """What two captions share: F1 of their words, articles aside, 0 to 1."""
    a, b = (set(bundled.normalised(text).split()) for text in (one, other))
    return 2 * len(a & b) / (len(a) + len(b)) if a and b else 0.0


def trust_of(items: Sequence[Item]) -> float:
    """The `trust` under which the cosines alone explain the training names best (maximum likelihood on a grid)."""
    named = [candidates(item, 1.0) for item in items if item.task == "name"]
    if not named:
        return 0.0

    def likelihood(trust: float) -> float:
        total = 0.0
        for answers in named:
            cosines = torch.tensor([answer.prior for answer in answers])
            total += float((trust * cosines).log_softmax(0)[0])
        return total

    return max(TRUSTS, key=likelihood)


def item_of(samples: Sequence[Sample], row: int, task: str, found: Neighbours, shown: int) -> Item:
    """With so many of the found captions in the prompt."""
    sample = samples[row]
    as_said = found
    if task == "caption":  # the copy too: an article more is no better a caption
        sentences = tuple(map(sentence, found.captions))
        as_said = replace(found, captions=sentences, nearest=sentence(found.nearest))
    in_prompt = tuple(bundled.normalised(caption) for caption in found.captions[:shown])
    answer = str(sample.columns["text"])
    return Item(row, sample, task, answer if task == "name" else sentence(answer), as_said, in_prompt)


def sentence(caption: str) -> str:
    """A name as the stamps would have it, "red apple" -> "A red apple."; sentences stay as they are."""
    if caption[-1] in ".!?…" or caption[0].isupper():
        return caption
    return f"{'An' if caption[0] in 'aeiou' else 'A'} {caption}."
