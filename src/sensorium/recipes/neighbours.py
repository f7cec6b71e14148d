"""A picture -> what similar training pictures are called, or what it may be called, in the closed form's space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.data.batch import meaning_ids
from sensorium.data.bundled import normalised
from sensorium.data.sample import Sample
from sensorium.objectives.canonical_correlation import AffineMap, align
from sensorium.recipes.closed_form import RIDGE
from sensorium.recipes.open_words import Words

RANK = 600
SHARE = 0.7  # of the classifier; of 0.3, 0.5, 0.7 and 1 the best on the training stamps, each looked up among others


@dataclass(frozen=True)
class Neighbours:
    """What one picture resembles.

    captions: the k most similar different captions, the most similar first
    scores:   cosine of the picture to the mean of each caption's pictures (`neighbours`) or to the caption, and how
              far that is what the picture is classified as (`described`)
    nearest:  the caption of the single nearest picture: what a copy says
    """

    captions: tuple[str, ...]
    scores: tuple[float, ...]
    nearest: str


@dataclass(frozen=True)
class Known:
    """Samples with their pooled features, float[N, W] each, and words that none of them need be called."""

    samples: Sequence[Sample]
    image: Tensor
    text: Tensor
    words: Words | None = None

    def maps(self, rows: Sequence[int], rank: int = RANK) -> dict[str, AffineMap]:
        """Pictures and captions -> the space that regularised CCA of those of these rows spans."""
        places = torch.as_tensor(rows)
        meanings = meaning_ids([self.samples[row].meanings for row in rows])
        captions = {self.samples[row].meanings[-1] for row in rows}
        most = min(rank, len(captions) - 1, self.image.shape[1], self.text.shape[1])
        return align(
            {"image": self.image[places], "text": self.text[places]},
            None,
            meanings,
            rank=most,
            ridge={name: RIDGE[name] for name in ("image", "text")},
            power=1.0,
            anchors=("image", "text"),
        ).maps

    def neighbours(
        self, queries: Sequence[int], gallery: Sequence[int], fit: Sequence[int], k: int
    ) -> list[Neighbours]:
        """For each query row what it resembles among the gallery's rows, in the space fitted on `fit`.

        No query may be in `fit` or `gallery`: a space that has seen a picture and its caption puts them together,
        and a model trained on such neighbours would trust them more than those of a test deserve.
        """
        looked, kept, _ = self._looked_up(queries, gallery, fit)
        captions, owner = self._captions(gallery)
        means = F.normalize(torch.zeros(len(captions), kept.shape[1]).index_add(0, owner, kept), dim=-1)
        return _nearest(
            looked @ means.T, k, [text for text, _ in captions], owner[(looked @ kept.T).argmax(1)]
        )

    def described(
        self, queries: Sequence[int], gallery: Sequence[int], k: int, share: float = SHARE
    ) -> list[Neighbours]:
        """For each query row what describes it best of the gallery's captions and all words.

        A caption is as good as its cosine to the picture, in the space fitted on the gallery, plus `share` times how
        far it means what the picture is classified as (`Words.meant`).
        """
        assert self.words is not None
        looked, kept, maps = self._looked_up(queries, gallery, gallery)
        captions, owner = self._captions(gallery)
        taken = {normalised(text) for text, _ in captions}
        new = [n for n, text in enumerate(self.words.captions) if normalised(text) not in taken]
        written = [text for text, _ in captions] + [self.words.captions[n] for n in new]
        features = torch.cat([self.text[[row for _, row in captions]], self.words.text[new]])
        scores = looked @ F.normalize(maps["text"](features), dim=-1).T
        scores += share * self.words.meant(self.image[torch.as_tensor(queries)], features)
        return _nearest(scores, k, written, owner[(looked @ kept.T).argmax(1)])

    def _looked_up(
        self, queries: Sequence[int], gallery: Sequence[int], fit: Sequence[int]
    ) -> tuple[Tensor, Tensor, dict[str, AffineMap]]:
        """Pictures of queries and gallery as float[*, D] of length 1, and the maps that brought them there."""
        if seen := {*queries} & {*gallery, *fit}:
            raise ValueError(f"{len(seen)} queries are in the gallery or in what the space is fitted on")
        maps = self.maps(fit)
        looked, kept = (
            F.normalize(maps["image"](self.image[torch.as_tensor(rows)]), dim=-1)
            for rows in (queries, gallery)
        )
        return looked, kept, maps

    def _captions(self, rows: Sequence[int]) -> tuple[list[tuple[str, int]], Tensor]:
        """The different captions of these rows, each with the first row that has it; int64[rows], which is whose."""
        first: dict[str, tuple[str, int]] = {}  # by its normal form, as it is written first
        for row in rows:
            text = str(self.samples[row].columns["text"])
            first.setdefault(normalised(text), (text, row))
        number = {form: place for place, form in enumerate(first)}
        owner = [number[normalised(str(self.samples[row].columns["text"]))] for row in rows]
        return list(first.values()), torch.tensor(owner)


def _nearest(scores: Tensor, k: int, written: Sequence[str], nearest: Tensor) -> list[Neighbours]:
    """scores: float[Q, M] of M captions; nearest: int64[Q], which of them a copy says"""
    values, places = scores.topk(min(k, len(written)), dim=1)
    return [
        Neighbours(tuple(written[place] for place in row.tolist()), tuple(value.tolist()), written[int(one)])
        for row, value, one in zip(places, values, nearest)
    ]


def rows_where(samples: Sequence[Sample], **wanted: object) -> list[int]:
    """Rows whose fields have these values (a tuple, list or set: one of them)."""

    def fits(sample: Sample) -> bool:
        return all(
            sample.fields.get(name) in value
            if isinstance(value, tuple | list | set)
            else sample.fields.get(name) == value
            for name, value in wanted.items()
        )

    return [row for row, sample in enumerate(samples) if fits(sample)]


def folds(rows: Sequence[int], samples: Sequence[Sample], parts: int) -> list[list[int]]:
    """The rows in so many parts by their field "fold", which keeps what looks alike together."""
    numbers = np.array([int(samples[row].fields["fold"]) for row in rows])
    order = {fold: place % parts for place, fold in enumerate(np.unique(numbers).tolist())}
    split: list[list[int]] = [[] for _ in range(parts)]
    for row, fold in zip(rows, numbers.tolist()):
        split[order[fold]].append(row)
    return [part for part in split if part]
