"""Pairs of texts with words hidden in them: what BERT is trained on.

[(first, second)] ──► [CLS] first [SEP] its own second, or another's [SEP] ──► 15 % of the words hidden ──► MaskedBatch

All chance comes from NumPy's global generator, which the training loop seeds for every batch: a resumed run hides
the same words.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.data.text_corpus import Document
from sensorium.data.tokens import NO_TARGET


@dataclass(frozen=True)
class MaskedBatch:
    """B pairs, padded at the end.

    inputs:  "ids" int64[B, T] with words hidden, "mask" bool[B, T], True where a token is real, "segments" int64[B, T],
             0 for the first text and its marks, 1 for the second
    targets: int64[B, T], the word that stood there, NO_TARGET where nothing is asked
    strange: int64[B], 1 where the second text is another document's (as `transformers` numbers them), 0 where it
             follows the first, NO_TARGET where there is none
    """

    inputs: dict[str, Tensor]
    targets: Tensor
    strange: Tensor

    def __len__(self) -> int:
        return len(self.strange)


@dataclass(frozen=True)
class Masking:
    """Hide some of a text's tokens (Devlin et al. 2019, §3.1 and A.1).

    share:  of the tokens that are asked for, at least one a text
    hidden: of those, how many [MASK] stands for; random: how many another word stands for, drawn evenly; the rest
            stays as it is, so that every word's own state must keep what it is
    """

    share: float = 0.15
    hidden: float = 0.8
    random: float = 0.1

    def __post_init__(self) -> None:
        if not (
            0 < self.share <= 1 and min(self.hidden, self.random) >= 0 and self.hidden + self.random <= 1
        ):
            raise ValueError(
                f"share={self.share}, hidden={self.hidden}, random={self.random}; expected a share above 0 and "
                "up to 1, and two parts of it that are together 1 at most"
            )

    def __call__(
        self, ids: np.ndarray, special: np.ndarray, mask: int, words: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """int64[T] -> ids with words hidden, targets.

        special: bool[T], never asked for; mask: id of [MASK]; words: int64[W], ids that a random word is drawn from
        """
        asked = np.flatnonzero(~special)
        asked = np.random.permutation(asked)[: max(1, round(self.share * len(asked)))]
        how = np.random.random(len(asked))
        shown, targets = ids.copy(), np.full_like(ids, NO_TARGET)
        targets[asked] = ids[asked]
        other = (how >= self.hidden) & (how < self.hidden + self.random)
        shown[asked[how < self.hidden]] = mask
        shown[asked[other]] = np.random.choice(words, other.sum())
        return shown, targets


# Every word that is asked for is hidden: to test, where a word that may be left standing would be given away.
ALL_HIDDEN = Masking(hidden=1.0, random=0.0)


class PairCollator:
    """Places of documents -> `MaskedBatch`.

    Half of the documents keep their own second text, the others get one of another thing's in the same language
    (the paper: of any document; then the language alone would tell). Documents without a second text stand alone and
    are not asked whether it follows.

    tokenizer: of `transformers`, with cls_token, sep_token, mask_token and pad_token
    limit:     tokens of a pair, marks included; the longer text is cut first, as the paper's authors do
    """

    def __init__(
        self, documents: Sequence[Document], tokenizer: Any, limit: int = 64, masking: Masking | None = None
    ) -> None:
        self.documents, self.limit, self.masking = list(documents), limit, masking or Masking()
        self.marks = (tokenizer.cls_token_id, tokenizer.sep_token_id)
        self.mask, self.padding = tokenizer.mask_token_id, tokenizer.pad_token_id
        if None in (*self.marks, self.mask, self.padding):
            raise ValueError(
                "the tokenizer lacks one of cls_token, sep_token, mask_token and pad_token; give one of BERT's kind"
            )
        self.words = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)
        self.first, self.second = (
            tokenizer([getattr(one, name) for one in self.documents], add_special_tokens=False)["input_ids"]
            for name in ("first", "second")
        )
        self.others: dict[str, list[int]] = {}
        for place, one in enumerate(self.documents):
            if one.second:
                self.others.setdefault(one.language, []).append(place)
        for language, places in self.others.items():
            if len({self.documents[place].thing for place in places}) < 2:
                raise ValueError(
                    f"{language}: only one thing has two texts; expected two or more, to swap one for another"
                )

    def with_masking(self, masking: Masking) -> PairCollator:
        """The same texts, words hidden in another way."""
        other = copy.copy(self)
        other.masking = masking
        return other

    def __call__(self, places: Sequence[int]) -> MaskedBatch:
        rows = [self._pair(int(place)) for place in places]
        B, T = len(rows), max(len(ids) for ids, _, _ in rows)
        ids_BT, segments_BT = np.full((B, T), self.padding), np.zeros((B, T), np.int64)
        mask_BT, targets_BT = np.zeros((B, T), bool), np.full((B, T), NO_TARGET)
        for row, (ids, segments, _) in enumerate(rows):
            shown, targets = self.masking(ids, np.isin(ids, self.marks), self.mask, self.words)
            real = slice(0, len(ids))
            ids_BT[row, real], segments_BT[row, real] = shown, segments
            mask_BT[row, real], targets_BT[row, real] = True, targets
        arrays = {"ids": ids_BT, "mask": mask_BT, "segments": segments_BT}
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return MaskedBatch(
            inputs, torch.from_numpy(targets_BT), torch.tensor([strange for _, _, strange in rows])
        )

    def _pair(self, place: int) -> tuple[np.ndarray, np.ndarray, int]:
        first, [start, end] = self.first[place], self.marks
        if not self.documents[place].second:
            ids = [start, *first[: self.limit - 2], end]
            return np.array(ids), np.zeros(len(ids), np.int64), NO_TARGET
        strange = int(np.random.random() < 0.5)
        second = self.second[self._other(place) if strange else place]
        a, b = _cut(len(first), len(second), self.limit - 3)
        ids = [start, *first[:a], end, *second[:b], end]
        return np.array(ids), np.repeat([0, 1], [a + 2, b + 1]), strange

    def _other(self, place: int) -> int:
        """A document of another thing in the same language."""
        here = self.documents[place]
        while True:
            drawn = np.random.choice(self.others[here.language])
            if self.documents[drawn].thing != here.thing:
                return int(drawn)


def _cut(a: int, b: int, room: int) -> tuple[int, int]:
    """Lengths that together fit: the longer text gives way first."""
    over = max(0, a + b - room)
    from_longer = min(over, abs(a - b))
    a, b = (a - from_longer, b) if a > b else (a, b - from_longer)
    rest = over - from_longer
    return a - rest // 2, b - (rest + 1) // 2
