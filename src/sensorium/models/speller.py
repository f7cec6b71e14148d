"""`Speller`: texts that were perhaps said, from the letters that a connector heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sensorium.models.letter_counts import LetterCounts
from sensorium.models.letter_search import Hypothesis, hypotheses
from sensorium.objectives.spelling import Spelling, spelled


@dataclass(frozen=True)
class Weights:
    """How much each counts that is asked about a text, beside log p(text | sound), which counts 1.

    counts: of log p(text) by `LetterCounts`; words: of log p(text) by the language model; bonus: of a letter, since
    both prefer short texts
    """

    counts: float
    words: float
    bonus: float


class Speller:
    """Sounds -> texts, in two passes.

        sound ──► connector ──► logits of letters ──found──► the likeliest texts ──best──► one text
                                                     ▲                              ▲
                                               LetterCounts              log p(text) by the language model

    spelling: what tokens say of letters; letters: those of its vectors, in their order
    weights:  to be chosen on things held out of training; beam: texts of the first pass
    """

    def __init__(
        self,
        spelling: Spelling,
        letters: Sequence[str],
        counts: LetterCounts,
        weights: Weights,
        beam: int = 16,
    ) -> None:
        self.spelling, self.letters, self.counts = spelling, letters, counts
        self.weights, self.beam = weights, beam

    def logits(self, model: Any, inputs: Any) -> list[Tensor]:
        """For each sound (prepared, or its Features) float[T, 1 + C], as `Spelling.logits` has them."""
        with torch.no_grad():
            logits, mask = self.spelling.logits(model, inputs)
        return [row[real] for row, real in zip(logits, mask)]

    def likeliest(self, logits: Tensor) -> str:
        """The likeliest letter of each token: what the sound alone says."""
        return spelled(logits, self.letters)

    def found(self, logits: Tensor) -> list[Hypothesis]:
        """The first pass: the likeliest texts of one sound, best first."""
        weights = self.weights
        return hypotheses(logits, self.letters, self.counts, weights.counts, weights.bonus, self.beam)

    def best(self, found: Sequence[Hypothesis], words: Mapping[str, float]) -> str:
        """The second pass (n-best rescoring). words: log p of each text by the language model."""
        weights = self.weights
        return max(
            found, key=lambda one: one.score(weights.counts, weights.bonus) + weights.words * words[one.text]
        ).text
