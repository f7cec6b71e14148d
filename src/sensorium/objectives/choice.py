"""Writing the right answer, and telling it from wrong ones: a language model trained to choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """(model, batch) -> {"next_token": float[], "choice": float[]}

    Item i asks for one of the answers a in A_i, one of which is right, r_i. With l(a) = Σ_t log p(a_t | a_<t, item),
    the log-likelihood of an answer's tokens:

        next_token = −1/S Σ_i l(r_i), over the S tokens of the right answers
        choice     = mean over i  −log softmax_{a ∈ A_i} l(a) [r_i], over items with several answers

    The first alone teaches what answers look like, the second what tells this one from those that look alike: the
    ranking loss of models that choose (Unlikelihood's relative, and DPO's without a reference model).

    batch: a `data.ChoiceBatch`
    """

    def __call__(self, model: Any, batch: Any) -> dict[str, Tensor]:
        token_scores, owners = token_likelihoods(model, batch)
        is_right = batch.right[owners]
        C, items = len(batch.right), batch.items
        answers = token_scores.new_zeros(C).index_add(0, owners, token_scores)
        N = int(items.max()) + 1
        place = _place(items)
        table = answers.new_full((N, int(place.max()) + 1), -torch.inf).index_put((items, place), answers)
        several = torch.bincount(items, minlength=N) > 1
        right = place.new_zeros(N).index_put((items[batch.right],), place[batch.right])
        choice = F.cross_entropy(table[several], right[several]) if several.any() else answers.sum() * 0
        return {"next_token": -token_scores[is_right].mean(), "choice": choice}


def likelihoods(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
    """float[C] Σ log p of each conversation's supervised tokens, and int64[C] how many these are."""
    token_scores, owners = token_likelihoods(model, batch)
    C = len(batch.names)
    return token_scores.new_zeros(C).index_add(0, owners, token_scores), torch.bincount(owners, minlength=C)


def token_likelihoods(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
    """float[S] log p of every supervised token, and int64[S] the conversation that it belongs to."""
    where = batch.targets != -100
    logits = model.logits(model(batch).hidden[where]).float()
    return -F.cross_entropy(logits, batch.targets[where], reduction="none"), batch.owners[where]


def _place(items: Tensor) -> Tensor:
    """int64[C]: how many conversations of the same item stand before each."""
    same = items[:, None] == items[None]
    return same.tril(-1).sum(1)
