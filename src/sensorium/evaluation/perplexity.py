"""How surprised a language model is by texts, beside a model that knows how frequent each word is and no more.

nats and tokens of each text -> Measured perplexity -> GeneratedScore with a unigram model as its majority baseline
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sensorium.evaluation.generated import Measured


def perplexity(nats: np.ndarray, tokens: np.ndarray, note: str = "") -> Measured:
    """exp(Σ nats / Σ tokens), to be drawn again over texts.

    nats:   float[N], −Σ log p of a text's tokens
    tokens: int64[N], how many these are, at least one in all

    Raises ValueError for shapes that differ, and where no text has a token.
    """
    nats, tokens = np.asarray(nats, np.float64), np.asarray(tokens)
    if nats.shape != tokens.shape or nats.ndim != 1 or not tokens.sum():
        raise ValueError(
            f"perplexity: got nats of {list(nats.shape)} texts and {int(tokens.sum())} tokens of {list(tokens.shape)}; "
            "expected one number a text each, and at least one token"
        )

    def of(rows: np.ndarray) -> float:
        return float(np.exp(nats[rows].sum() / tokens[rows].sum()))

    return Measured(nats / np.maximum(tokens, 1), of, unit="distance", note=note)


def share_of_tokens(right: np.ndarray, tokens: np.ndarray, note: str = "") -> Measured:
    """Σ right / Σ tokens: an accuracy over tokens, to be drawn again over texts."""
    right, tokens = np.asarray(right, np.float64), np.asarray(tokens)

    def of(rows: np.ndarray) -> float:
        return float(right[rows].sum() / tokens[rows].sum())

    return Measured(right / np.maximum(tokens, 1), of, note=note)


class Unigram:
    """How frequent each word is in a corpus, one occurrence added to all, so that none is impossible.

    rows: the token ids of its texts; words: size of the vocabulary; never: ids that are not counted (marks)
    """

    def __init__(self, rows: Iterable[Sequence[int]], words: int, never: Sequence[int] = ()) -> None:
        counts = np.ones(words)
        for ids in rows:
            np.add.at(counts, np.asarray(ids, np.int64), 1)
        counts[list(never)] = 0
        with np.errstate(divide="ignore"):
            self.log_p = np.log(counts / counts.sum())
        self.most_frequent = int(counts.argmax())

    def nats(self, ids: Sequence[int]) -> float:
        """−Σ log p of a text's tokens."""
        return -float(self.log_p[np.asarray(ids, np.int64)].sum())
