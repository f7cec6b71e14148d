"""What BERT learned, on things that no training text speaks of: hidden words, pairs, and the group of a name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from sensorium.data.masking import ALL_HIDDEN, MaskedBatch, Masking, PairCollator
from sensorium.data.text_corpus import Document
from sensorium.data.tokens import NO_TARGET
from sensorium.encoders.encoder import masked_mean
from sensorium.evaluation.generated import Baselines, GeneratedScore, Measured, score_of
from sensorium.evaluation.perplexity import Unigram, perplexity, share_of_tokens
from sensorium.evaluation.probes import Vectors, probes
from sensorium.systems.bert import Bert
from sensorium.training.randomness import preserved, seed_all

NOTHING_HIDDEN = Masking(hidden=0.0, random=0.0)
SEED = 1  # of the words hidden and the pairs swapped in the tests, whatever the run's
BATCH = 64


@dataclass
class BertTests:
    """Held-out documents as batches that never change, and the encoder's vectors before training.

    hidden: words hidden in pairs that belong together or not; whole: pairs with nothing hidden
    """

    train: list[Document]
    test: list[Document]
    hidden: list[MaskedBatch]
    whole: list[MaskedBatch]
    unigram: Unigram
    untrained: Vectors

    @classmethod
    def prepare(cls, model: Bert, train: PairCollator, test: PairCollator) -> BertTests:
        """model: as built, before training; train, test: collators of the two splits' documents"""
        tokenizer = model.encoder.tokenizer
        rows = (ids for side in (train.first, train.second) for ids in side)
        marks = [tokenizer.pad_token_id, tokenizer.mask_token_id, *train.marks]
        unigram = Unigram(rows, len(tokenizer), marks)
        with preserved():
            hidden = _batches(test, ALL_HIDDEN)
            whole = _batches(test, NOTHING_HIDDEN)
        vectors = _vectors(model, train.documents, test.documents)
        return cls(train.documents, test.documents, hidden, whole, unigram, vectors)

    def scores(self, model: torch.nn.Module) -> dict[str, GeneratedScore]:
        assert isinstance(model, Bert)
        return self.words(model) | self.pairs(model) | self.groups(model)

    def words(self, model: Bert) -> dict[str, GeneratedScore]:
        """Naming the hidden words: the likeliest one, and how likely the right one is."""
        sums: dict[str, list[np.ndarray]] = defaultdict(list)
        for batch in self.hidden:
            asked = batch.targets != NO_TARGET
            wanted, row = batch.targets[asked], asked.nonzero()[:, 0]
            with torch.no_grad():
                logits = model.words(model.encode(batch.inputs).tokens[asked]).float()
            found = {
                "nats": F.cross_entropy(logits, wanted, reduction="none"),
                "right": logits.argmax(-1) == wanted,
                "count": torch.ones_like(wanted),
                "guess": wanted == self.unigram.most_frequent,
                "unigram": -torch.from_numpy(self.unigram.log_p)[wanted],
            }
            for name, values in found.items():
                of_rows = torch.zeros(len(batch), dtype=torch.float64).index_add(0, row, values.double())
                sums[name].append(of_rows.numpy())
        summed = {name: np.concatenate(parts) for name, parts in sums.items()}
        total = summed["count"].astype(np.int64)
        things = [document.thing for document in self.test]
        accuracy = share_of_tokens(summed["right"], total, "majority: the most frequent piece")
        guessed = share_of_tokens(summed["guess"], total)
        surprise = perplexity(summed["nats"], total, "majority: how frequent each piece is")
        frequent = perplexity(summed["unigram"], total)
        return {
            "hidden_words.accuracy": score_of(accuracy, Baselines(majority=guessed), things),
            "hidden_words.perplexity": score_of(surprise, Baselines(majority=frequent), things),
        }

    def pairs(self, model: Bert) -> dict[str, GeneratedScore]:
        """Whether the second text follows the first; and what asking for a piece in common would tell."""
        said, shared = [], []
        for batch in self.whole:
            with torch.no_grad():
                said.append(model.pairs(model.encode(batch.inputs).pooled).argmax(-1).numpy())
            shared.append(_share_no_piece(batch))
        right = np.concatenate([batch.strange.numpy() for batch in self.whole])
        answers = {"": np.concatenate(said), ".shared_piece": np.concatenate(shared)}
        scores = {}
        for kind, is_emoji in (("tags", True), ("captions", False)):
            rows = [
                row
                for row, document in enumerate(self.test)
                if right[row] != NO_TARGET and (document.group is not None) == is_emoji
            ]
            things = [self.test[row].thing for row in rows]
            half = Measured(np.full(len(rows), 0.5))
            for name, answer in answers.items():
                measured = Measured((answer == right)[rows].astype(float))
                scores[f"follows.{kind}{name}.accuracy"] = score_of(
                    measured, Baselines(majority=half), things
                )
        return scores

    def groups(self, model: Bert) -> dict[str, GeneratedScore]:
        """The emoji's group read off its name's vector, beside the same encoder before training."""
        train, test = ([one for one in side if one.group] for side in (self.train, self.test))
        found = probes(
            _vectors(model, self.train, self.test),
            self.untrained,
            [one.group for one in train],
            [one.group for one in test],
            [one.thing for one in test],
        )
        return {f"group_of_name.{name}": score for name, score in found.items()}


def _batches(collate: PairCollator, masking: Masking) -> list[MaskedBatch]:
    """All documents in order, with chance of their own."""
    seed_all(SEED)
    fixed = collate.with_masking(masking)
    places = range(len(collate.documents))
    return [fixed(places[start : start + BATCH]) for start in range(0, len(places), BATCH)]


def _vectors(model: Bert, train: Sequence[Document], test: Sequence[Document]) -> Vectors:
    """Names of emoji -> the mean of their tokens' states, as for sentence vectors."""

    def encoded(documents: Sequence[Document]) -> np.ndarray:
        features = model.encoder.encode([one.first for one in documents if one.group], batch_size=128)
        return masked_mean(features.tokens, features.mask).numpy()

    return Vectors(encoded(train), encoded(test))


def _share_no_piece(batch: MaskedBatch) -> np.ndarray:
    """int64[B]: 1 where no token of the first text is one of the second."""
    ids, second = batch.inputs["ids"].numpy(), batch.inputs["segments"].numpy() == 1
    real = batch.inputs["mask"].numpy()
    marks = ids[0, 0], ids[0, real[0].sum() - 1]
    answers = []
    for row in range(len(ids)):
        one = set(ids[row, real[row] & ~second[row]]) - set(marks)
        other = set(ids[row, real[row] & second[row]]) - set(marks)
        answers.append(int(not one & other))
    return np.array(answers)
