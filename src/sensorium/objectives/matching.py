"""Image–text matching: does this text belong to this picture? With the negatives that are hardest to tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.objectives.column_pairs import share_meaning

LEAST = 1e-4  # weight of a row whose softmax is 0, as the authors add it: no row is out of reach


@dataclass(frozen=True)
class Matching:
    """(model, batch) -> {"matching": float[]}: cross-entropy of yes and no over P pairs and 2 P hard negatives.

    Every picture stands once with its own text, once with a text of another meaning, every text once with a
    picture of another meaning, drawn with

        P(j | i) ∝ softmax_j(scale · cosine_ij) + 10⁻⁴     over the rows j that share no meaning with i

    so that what the contrastive loss takes for the same is met most often (Li et al. 2021, arXiv:2107.07651, §3.3;
    BLIP, §3.2). A row all of whose others mean the same has no negative. The draw is from torch's global generator.

    Relations: `InfoNCE` compares vectors made apart; here every word looks at the picture.

        loss = Matching().losses(model, model(batch), batch.meanings)["matching"]
    """

    def __call__(self, model: Any, batch: Any) -> dict[str, Tensor]:
        return self.losses(model, model(batch), batch.meanings)

    def losses(self, model: Any, pairs: Any, meanings: Tensor) -> dict[str, Tensor]:
        """The same of an output that is at hand. pairs: of `EncoderDecoder`; meanings: int64[B, K] of the batch."""
        if len(pairs.image) < 2:
            return {}
        meanings = meanings.to(pairs.rows.device)[pairs.rows]
        image, text = pairs.vectors.values()
        logits = pairs.scale.detach() * image.detach() @ text.detach().T
        same = same_meaning(meanings)
        (of_image, wrong_text), (of_text, wrong_image) = (
            hard_negatives(logits, same),
            hard_negatives(logits.T, same),
        )
        words = model.marked(pairs.words, "encode")
        own = torch.arange(len(image), device=image.device)
        texts, pictures = torch.cat([own, wrong_text, of_text]), torch.cat([own, of_image, wrong_image])
        right = torch.zeros(len(texts), dtype=torch.long, device=image.device)
        right[: len(own)] = 1
        answers = model.match(words[texts], pairs.image[pictures])
        return {"matching": F.cross_entropy(answers.float(), right)}


def same_meaning(meanings: Tensor) -> Tensor:
    """int64[P, K] -> bool[P, P]: rows that share a meaning; each does with itself, also without any."""
    same = share_meaning(meanings, meanings)
    same.fill_diagonal_(True)
    return same


def hard_negatives(logits: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """One wrong partner a row, likelier the higher its logit -> (rows int64[R], their partners int64[R]).

    logits: float[P, P]; same: bool[P, P], partners that are right. Rows without a wrong one are left out.
    """
    weights = (logits.float().softmax(1) + LEAST).masked_fill(same, 0.0)
    rows = (~same).any(1).nonzero()[:, 0]
    if not len(rows):
        return rows, rows
    return rows, torch.multinomial(weights[rows], 1)[:, 0]
