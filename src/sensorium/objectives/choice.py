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
    the log-likelihood of an answer's tokens, a prior q(a) in nats and shares w(a) of each answer's worth:

        next_token = −1/S Σ_i l(r_i), over the S tokens of the right answers
        choice     = mean over i  −Σ_a w(a) log softmax_{a ∈ A_i} (l(a) + q(a)), over items with several answers

    The first alone teaches what answers look like, the second what tells this one from those that look alike: the
    ranking loss of models that choose (Unlikelihood's relative, and DPO's without a reference model). With a prior,
    such as a retriever's score, the model learns what is to be corrected of it (a product of experts, Hinton 2002).

    batch: a `data.ChoiceBatch`
    """

    def __call__(self, model: Any, batch: Any) -> dict[str, Tensor]:
        token_scores, owners = token_likelihoods(model, batch)
        is_right = batch.right[owners]
        C, items = len(batch.right), batch.items
        totals = token_scores.new_zeros(C).index_add(0, owners, token_scores)
        offered = batch.worth >= 0
        N = int(items.max()) + 1
        shares = torch.zeros_like(totals).index_add(0, items, batch.worth.clamp(min=0))[:N]
        several = (torch.bincount(items[offered], minlength=N) > 1) & (shares > 0)
        among = (totals + batch.prior).masked_fill(~offered, -torch.inf)
        place = _place(items)
        table = among.new_full((N, int(place.max()) + 1), -torch.inf).index_put((items, place), among)
        chances = table[several].log_softmax(-1)
        wanted = torch.zeros_like(table).index_put((items, place), batch.worth.clamp(min=0))
        wanted = wanted[several] / shares[several, None]
        each = -(wanted * chances.masked_fill(wanted == 0, 0.0)).sum(-1)
        choice = each.mean() if several.any() else totals.sum() * 0
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
