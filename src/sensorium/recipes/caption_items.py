"""One picture to be named or described, what is in its prompt, and what is to be written after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sensorium.data import bundled
from sensorium.data.sample import Sample
from sensorium.evaluation.captions import rouge_l
from sensorium.recipes.neighbours import Neighbours
from sensorium.systems.smol_captioner import PROMPTS


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


def taught(item: Item) -> str:
    """The best of the captions in its prompt: what a language model is to write.

    Of names the right one, of captions the one with the largest ROUGE-L; of equal ones, and where the right name is
    not among them, the first. As extractive summarisers are taught (Nallapati et al. 2017, arXiv:1611.04230, §3.1):
    the right answer itself is often not to be known from what was found, and who learns to write it learns to guess.
    """
    offered = item.found.captions[: len(item.shown)]
    if item.task == "name":
        worth = [float(bundled.normalised(text) == bundled.normalised(item.answer)) for text in offered]
    else:
        worth = rouge_l(offered, [item.answer])[:, 0].tolist()
    return offered[worth.index(max(worth))]


def item_of(samples: Sequence[Sample], row: int, task: str, found: Neighbours, shown: int) -> Item:
    """With so many of the found captions in the prompt."""
    sample = samples[row]
    answer = str(sample.columns["text"])
    if task == "name":
        in_prompt = tuple(bundled.normalised(name) for name in found.captions[:shown])
        return Item(row, sample, task, answer, found, in_prompt)
    sentences = tuple(map(sentence, found.captions))  # the copy too: an article more is no better a caption
    as_said = replace(found, captions=sentences, nearest=sentence(found.nearest))
    in_prompt = tuple(caption.rstrip(".") for caption in sentences[:shown])  # a list has its own signs
    return Item(row, sample, task, sentence(answer), as_said, in_prompt)


def sentence(caption: str) -> str:
    """A name as the stamps would have it, "red apple" -> "A red apple."; sentences stay as they are."""
    if caption[-1] in ".!?…" or caption[0].isupper():
        return caption
    return f"{'An' if caption[0] in 'aeiou' else 'A'} {caption}."
