"""BLIP-2's three losses for a Q-Former: tell pairs apart, judge them, and write the text (stage 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.objectives.column_pairs import share_meaning
from sensorium.objectives.global_batch import gather_rows, mean_over_processes, world_size
from sensorium.objectives.info_nce import info_nce_sum
from sensorium.objectives.matching import hard_negatives, same_meaning

NO_TARGET = -100


@dataclass(frozen=True)
class QFormerStage1:
    """(model, batch) -> {"contrast": float[], "matching": float[], "writing": float[]}; the total is their sum.

    Li et al. 2023 (arXiv:2301.12597), section 3.1, over the N rows that have both picture and text:

        contrast   s_ij = scale · max_q cos(query q of picture i, text j); InfoNCE of s both ways, in which rows that
                   share a meaning are no negatives of each other (see `InfoNCE`)
        matching   cross-entropy of yes and no for the N pairs, each picture with a wrong text, and each text with a
                   wrong picture, drawn among those of another meaning by softmax(s): the likely mistakes
        writing    −log P(word | queries, words before), the mean over all words

    label_smoothing: ε of contrast and writing (0.1 in the authors' code)

    Under torch.distributed the contrast is over the rows of all processes; wrong partners come from the own process,
    and matching and writing are means of the own rows.

        losses = QFormerStage1()(model, batch)      # model: `models.image_text_qformer.ImageTextQFormer`
    """

    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing {self.label_smoothing}: give 0 <= label_smoothing < 1")

    def __call__(self, model: Any, batch: Any) -> dict[str, Tensor]:
        states = model(batch)
        meanings = batch.meanings.to(states.rows.device)[states.rows]
        return {
            "contrast": self.contrast(model, states, meanings),
            "matching": self.matching(model, states, meanings),
            "writing": self.writing(model, states),
        }

    def contrast(self, model: Any, states: Any, meanings: Tensor) -> Tensor:
        """float[]. states: `ImageTextStates` of N rows; meanings: int64[N, K]."""
        image, text, everyone, first = states.image, states.text, meanings, 0
        n, Q, D = image.shape
        if world_size() > 1:
            flat, first = gather_rows(image.flatten(1))
            image = flat.view(-1, Q, D)
            text, _ = gather_rows(text)
            everyone, _ = gather_rows(meanings, padding=-1)
        own = torch.arange(first, first + n, device=meanings.device)
        positives = share_meaning(meanings, everyone)
        positives[torch.arange(n, device=own.device), own] = True
        with torch.autocast(image.device.type, enabled=False):
            there = states.scale * model.similarity(states.image, text)
            back = states.scale * model.similarity(image, states.text).T
            both = info_nce_sum(there, positives, self.label_smoothing)
            both = both + info_nce_sum(back, positives, self.label_smoothing)
        return mean_over_processes(both * (world_size() / max(len(image), 1) / 2))

    def matching(self, model: Any, states: Any, meanings: Tensor) -> Tensor:
        """float[]. Draws the wrong partners from torch's global generator."""
        with torch.no_grad():
            logits = states.scale * model.similarity(states.image, states.text)
            same = same_meaning(meanings)
            pictures, wrong_texts = hard_negatives(logits, same)
            texts, wrong_pictures = hard_negatives(logits.T, same)
            own = torch.arange(len(meanings), device=meanings.device)
        of = torch.cat([own, pictures, wrong_pictures])
        said = torch.cat([own, wrong_texts, texts])
        right = torch.zeros_like(of)
        right[: len(own)] = 1
        answers = model.match(states.media, states.ids[said], states.words[said], of)
        return F.cross_entropy(answers.float(), right)

    def writing(self, model: Any, states: Any) -> Tensor:
        """float[]: the mean over all words but the first, which the start token replaced."""
        targets = following(states.ids, states.words)
        where = targets != NO_TARGET
        logits = model.word_logits(states.written[where]).float()  # of a padded batch, only what is asked
        return F.cross_entropy(logits, targets[where], label_smoothing=self.label_smoothing)


def following(ids: Tensor, words: Tensor) -> Tensor:
    """int64[B, L], bool[B, L] -> int64[B, L]: the word that follows each place; NO_TARGET where there is none."""
    targets = torch.full_like(ids, NO_TARGET)
    targets[:, :-1] = ids[:, 1:].masked_fill(~words[:, 1:], NO_TARGET)
    return targets
