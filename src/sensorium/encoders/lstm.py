"""Words -> Features by an LSTM over learned word vectors: the textbook's text tower, from random weights."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sensorium.encoders.encoder import Encoder
from sensorium.features import Features

logger = logging.getLogger(__name__)

PADDING, UNKNOWN, FIRST = 0, 1, 2  # ids; the vocabulary begins at FIRST
# A run of letters and digits with apostrophes inside, or one other sign. Chinese and Japanese, which put no spaces
# between words, are read sign by sign.
SIGN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
WORD = re.compile(rf"[{SIGN}]|[^\W{SIGN}]+(?:['’][^\W{SIGN}]+)*|[^\w\s]")


def words_of(text: str) -> list[str]:
    """ "Don't panic!" -> ["don't", "panic", "!"]: lower case, punctuation as words of its own."""
    return [word.replace("’", "'") for word in WORD.findall(text.lower())]


def vocabulary(texts: Iterable[str], most: int = 20_000, least: int = 1) -> list[str]:
    """The `most` frequent words that occur `least` times or more, the most frequent first, ties by alphabet.

    Take it from the texts that are trained on: words of other texts would get vectors that never learn. So does the
    unknown word, unless `least` leaves some of these texts' words out.
    Raises ValueError where nothing is left.
    """
    counts = Counter(word for text in texts for word in words_of(text))
    found = sorted((word for word, n in counts.items() if n >= least), key=lambda word: (-counts[word], word))
    if not found[:most]:
        raise ValueError(
            f"vocabulary: got {len(counts)} words, none of them {least} times or more; expected some texts"
        )
    return found[:most]


class LstmEncoder(Encoder):
    """A sentence read word by word, forwards and backwards (Graves & Schmidhuber 2005, section 2).

        str ─► words ─► ids ─► embedding ─► LSTM → and ← ─► tokens float[B, T, D]
                                                └► last state of each direction, side by side = pooled

    Sequences are packed: what stands behind a text in its batch is never read.

    words:     the vocabulary (`vocabulary(texts)`); every other word is one and the same unknown
    width:     D, half of it each way
    embedding: width of a word's vector
    layers:    LSTMs on top of each other, with `dropout` between them and on the word vectors
    both_ways: False reads forwards only
    limit:     words of a text that are read; longer ones are cut and reported
    """

    modality = "text"

    def __init__(
        self,
        words: Sequence[str],
        width: int = 256,
        embedding: int = 128,
        layers: int = 1,
        both_ways: bool = True,
        limit: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.words = tuple(words)
        if not self.words or len(set(self.words)) < len(self.words):
            raise ValueError(f"words: got {len(self.words)}; expected different words, at least one")
        if width < 1 or (both_ways and width % 2):
            raise ValueError(f"width: got {width}; expected an even number, half of it for each direction")
        if limit < 1:
            raise ValueError(f"limit: got {limit}; expected at least 1 word")
        self.width, self.limit = width, limit
        self.place = {word: place for place, word in enumerate(self.words, FIRST)}
        self.embedding = nn.Embedding(FIRST + len(self.words), embedding, padding_idx=PADDING)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(
            embedding,
            width // 2 if both_ways else width,
            layers,
            batch_first=True,
            bidirectional=both_ways,
            dropout=dropout if layers > 1 else 0.0,
        )
        fingerprint = hashlib.sha256(json.dumps(self.words).encode()).hexdigest()[:16]
        self.config = {"layers": layers, "both_ways": both_ways}
        self.preparation = (
            f"lower-case words and signs, {len(self.words)} known ({fingerprint}), cut to {limit}"
        )

    def length(self, media: str) -> int:
        return len(media)

    def token_count(self, media: str) -> int:
        return max(1, min(self.limit, len(words_of(media))))

    def prepare(self, media: Sequence[str]) -> dict[str, Tensor]:
        """Texts -> {"ids": int64[B, T], "mask": bool[B, T], "truncated": bool[B]}.

        A text of no words is one unknown word.
        """
        rows = [[self.place.get(word, UNKNOWN) for word in words_of(text)] or [UNKNOWN] for text in media]
        truncated = torch.tensor([len(row) > self.limit for row in rows], dtype=torch.bool)
        if truncated.any():
            logger.warning(
                "%d of %d texts are longer than %d words and were cut", truncated.sum(), len(rows), self.limit
            )
        rows = [row[: self.limit] for row in rows]
        ids = torch.full((len(rows), max(map(len, rows), default=1)), PADDING)
        for row, found in enumerate(rows):
            ids[row, : len(found)] = torch.tensor(found)
        return {"ids": ids, "mask": ids != PADDING, "truncated": truncated}

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        mask = inputs["mask"]
        tokens, (last, _) = read_in_order(self.lstm, self.dropout(self.embedding(inputs["ids"])), mask)
        return Features(tokens, mask, ends(last, self.lstm).float())


def read_in_order(net: nn.LSTM | nn.GRU, x: Tensor, mask: Tensor) -> tuple[Tensor, Any]:
    """A recurrent net over the real tokens only: float[B, T, E], bool[B, T] -> float[B, T, D], its last states.

    Real tokens come first in every row, at least one of them. Tokens that are not real come out as zeros.
    """
    counts = mask.sum(1)
    packed = pack_padded_sequence(x, counts.cpu(), batch_first=True, enforce_sorted=False)
    read, last = net(packed)
    tokens, _ = pad_packed_sequence(read, batch_first=True, total_length=x.shape[1])
    return tokens, last


def ends(last: Tensor, net: nn.LSTM | nn.GRU) -> Tensor:
    """float[layers · ways, B, H] -> float[B, ways · H]: where the top layer ended, each way."""
    ways = 2 if net.bidirectional else 1
    return last[-ways:].transpose(0, 1).flatten(1)
