"""What queries and words may see of each other: a Q-Former's three masks (Li et al. 2023, arXiv:2301.12597, figure 2).

Q learned queries stand first, L words after them, S = Q + L. Row: who looks; column: what is seen; True: may be seen.

                 queries │ words        queries │ words        queries │ words
        queries     1    │   0             1    │   1             1    │   0
        words       0    │   1             1    │   1             1    │  up to itself
                  uni_modal              bi_directional         multimodal_causal

Words that are padding are seen by nobody. A padding word itself looks at what a real one in its place would; nobody
reads what it finds.
"""

from __future__ import annotations

import torch
from torch import Tensor


def uni_modal(queries: int, words: Tensor) -> Tensor:
    """words bool[B, L], True where real -> bool[B, S, S]: each side sees itself only (image–text contrast)."""
    mask = _padding(queries, words).clone()
    mask[:, :queries, queries:] = False
    mask[:, queries:, :queries] = False
    return mask


def bi_directional(queries: int, words: Tensor) -> Tensor:
    """words bool[B, L], True where real -> bool[B, S, S]: everything sees everything (image–text matching)."""
    return _padding(queries, words)


def multimodal_causal(queries: int, words: Tensor) -> Tensor:
    """words bool[B, L], True where real -> bool[B, S, S]: image-grounded text generation.

    Queries see queries; a word sees all queries, the words before it, and itself.
    """
    S = queries + words.shape[1]
    order = torch.ones(S, S, dtype=torch.bool, device=words.device).tril()
    order[:queries, :queries] = True
    return _padding(queries, words) & order


def _padding(queries: int, words: Tensor) -> Tensor:
    B, L = words.shape
    seen = torch.cat([words.new_ones(B, queries), words], 1)
    return seen[:, None, :].expand(B, queries + L, queries + L)
