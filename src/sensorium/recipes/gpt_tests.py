"""What GPT learned, on things that no training text speaks of: its surprise, and questions asked by prompts alone.

A question is a prompt with candidates; the candidate that the model finds likeliest is its answer. Nothing is
trained for it: the prompt holds no, one or a few solved examples of training things (Brown et al. 2020, §2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sensorium.data.conversation import Rendered
from sensorium.data.packing import pack
from sensorium.data.text_corpus import LABEL, Document
from sensorium.evaluation.generated import Baselines, GeneratedScore, Measured, margin, score_of
from sensorium.evaluation.perplexity import Unigram, perplexity
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.objectives.next_token import likelihoods

# A word for each group of emoji, in English: people tag most things of the group with it, or would.
GROUPS = {
    "activities": "game",
    "animals-nature": "animal",
    "food-drink": "food",
    "objects": "tool",
    "people-body": "person",
    "smileys-emotion": "face",
    "symbols": "button",
    "travel-places": "building",
}
LANGUAGE = "en"  # of the words above, and so of the names that they are asked of
SHOTS = (0, 1, 8)  # examples in the prompt
OPTIONS = 4  # lists of tags that a name's own is to be found among
ITEMS = 300  # names that are asked for their tags
SEED = 1
ROWS = 32  # items scored at a time


@dataclass(frozen=True)
class Item:
    """prompt: token ids; candidates: token ids of each; right: place of the true one; thing: what it is about."""

    prompt: list[int]
    candidates: list[list[int]]
    right: int
    thing: str


@dataclass
class GptTests:
    """Held-out documents, the frequency of words in training, and the untrained model's answers."""

    train: list[Document]
    test: list[Document]
    tokenizer: Any
    room: int
    unigram: Unigram
    untrained: dict[str, Measured]

    @classmethod
    def prepare(cls, model: MultimodalLM, train: Sequence[Document], test: Sequence[Document]) -> GptTests:
        """model: as built, before training"""
        tokenizer = model.backbone.tokenizer
        end = tokenizer.eos_token_id
        rows = [[*ids, end] for ids in tokenizer([one.text for one in train])["input_ids"]]
        room = model.backbone.lm.config.n_positions
        made = cls(list(train), list(test), tokenizer, room, Unigram(rows, len(tokenizer)), {})
        made.untrained = {name: measured for name, (measured, _, _) in made.measured(model.eval()).items()}
        return made

    def scores(self, model: torch.nn.Module) -> dict[str, GeneratedScore]:
        """Each number, the same of the model before training, and for accuracies the gain over it."""
        assert isinstance(model, MultimodalLM)
        scores = {}
        for name, (measured, baselines, things) in self.measured(model).items():
            before = self.untrained[name]
            scores[name] = score_of(measured, baselines, things)
            scores[f"{name}.untrained"] = score_of(before, baselines, things)
            if measured.unit == "fraction":
                gain = margin(measured, [before], things)
                scores[f"{name}.gain"] = GeneratedScore(gain.value, gain.low, gain.high, len(measured))
        return scores

    def measured(self, model: MultimodalLM) -> dict[str, tuple[Measured, Baselines, list[str]]]:
        found = {"perplexity": self.perplexity(model)}
        for shots in SHOTS:
            items = self.group_items(shots)
            if not items:
                continue
            scores = item_scores(model, items)
            # The mean over the questions is what the model thinks of a label whatever it is asked (batch
            # calibration, Zhou et al. 2023, arXiv:2309.17249, equation 3); only what goes beyond it counts.
            answers = {"": scores - scores.mean(0), ".uncalibrated": scores}
            most = max(GROUPS, key=[one.group for one in self.train].count)
            majority = Measured(np.array([float(list(GROUPS)[item.right] == most) for item in items]))
            for name, table in answers.items():
                right = Measured((table.argmax(1) == [item.right for item in items]).astype(float))
                things = [item.thing for item in items]
                found[f"group.{shots}_shot.accuracy{name}"] = right, Baselines(majority=majority), things
        for shots in SHOTS:
            items = self.tag_items(shots)
            if not items:
                continue
            lengths = np.array([[len(one) for one in item.candidates] for item in items])
            right = (item_scores(model, items) / lengths).argmax(1) == [item.right for item in items]
            chance = Measured(np.full(len(items), 1 / OPTIONS))
            things = [item.thing for item in items]
            found[f"own_tags.{shots}_shot.accuracy"] = (
                Measured(right.astype(float)),
                Baselines(majority=chance),
                things,
            )
        return found

    def perplexity(self, model: MultimodalLM) -> tuple[Measured, Baselines, list[str]]:
        """Of each document alone, its end included."""
        end = self.tokenizer.eos_token_id
        texts = [[*ids, end] for ids in self._ids([one.text for one in self.test])]
        items = [Item([end], [ids[: self.room - 1]], 0, "") for ids in texts]
        nats = -item_scores(model, items)[:, 0]
        counts = np.array([len(item.candidates[0]) for item in items])
        note = "majority: how frequent each token is"
        frequent = perplexity(np.array([self.unigram.nats(item.candidates[0]) for item in items]), counts)
        things = [one.thing for one in self.test]
        return perplexity(nats, counts, note), Baselines(majority=frequent), things

    def group_items(self, shots: int) -> list[Item]:
        """ "frog:" -> " animal", " food" …; examples are names with their right words."""
        words = self._ids([f" {word}" for word in GROUPS.values()])
        examples = [one for one in self.train if one.group and one.language == LANGUAGE]
        asked = [one for one in self.test if one.group and one.language == LANGUAGE]
        drawn = np.random.default_rng(SEED)
        items = []
        for one in asked:
            shown = [examples[place] for place in drawn.permutation(len(examples))[:shots]]
            solved = [f"{example.first}{LABEL}{GROUPS[example.group or '']}" for example in shown]
            items.append(
                Item(self._prompt(solved, one.first), words, list(GROUPS).index(one.group or ""), one.thing)
            )
        return items

    def tag_items(self, shots: int) -> list[Item]:
        """ "frog:" -> its own tags, or those of another held-out thing in the same language."""
        drawn = np.random.default_rng(SEED)
        tagged = [one for one in self.test if one.tags]
        by_language: dict[str, dict[str, list[Document]]] = {
            name: defaultdict(list) for name in ("train", "test")
        }
        for name, side in (("train", self.train), ("test", tagged)):
            for one in side:
                if one.tags:
                    by_language[name][one.language].append(one)
        items = []
        for place in drawn.permutation(len(tagged))[:ITEMS]:
            one = tagged[place]
            others = [other for other in by_language["test"][one.language] if other.thing != one.thing]
            if len(others) < OPTIONS - 1:
                continue
            examples = by_language["train"][one.language]
            options = [others[which] for which in drawn.permutation(len(others))[: OPTIONS - 1]]
            right = int(drawn.integers(OPTIONS))
            options.insert(right, one)
            solved = [examples[which].text for which in drawn.permutation(len(examples))[:shots]]
            prompt = self._prompt(solved, one.first)
            candidates = self._ids([" " + ", ".join(option.tags) for option in options])
            items.append(Item(prompt, candidates, right, one.thing))
        return items

    def _prompt(self, solved: Sequence[str], name: str) -> list[int]:
        """End mark, solved examples each with its own, and the name as far as its colon."""
        end = self.tokenizer.eos_token_id
        ids = [end]
        for text in solved:
            ids += [*self._ids([text])[0], end]
        return ids + self._ids([name + LABEL.rstrip()])[0]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(list(texts), verbose=False)["input_ids"]
        return ids


def item_scores(model: MultimodalLM, items: Sequence[Item]) -> np.ndarray:
    """float64[N, C]: log p of every candidate behind its prompt, which is read once for all of them.

    A prompt that does not fit loses its beginning.
    """
    room = model.backbone.lm.config.n_positions
    found = []
    for start in range(0, len(items), ROWS):
        read, groups = [], []
        for number, item in enumerate(items[start : start + ROWS]):
            longest = max(map(len, item.candidates))
            for candidate in item.candidates:
                ids = [*item.prompt[-(room - longest) :], *candidate]
                supervised = np.arange(len(ids)) >= len(ids) - len(candidate)
                read.append(Rendered(np.array(ids), supervised, (), ()))
                groups.append(number)
        batch = pack(read, groups=groups).batch({}, [str(number) for number in range(len(read))])
        with torch.no_grad():
            scores, _ = likelihoods(model, batch)
        found.append(scores.double().numpy().reshape(-1, len(items[0].candidates)))
    return np.concatenate(found)
