"""A picture -> what the most similar training pictures are called, in the space of the closed form."""

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

RANK = 600


@dataclass(frozen=True)
class Neighbours:
    """What one picture resembles.

    captions: the k most similar different captions, the most similar first; each stands for all of its pictures
    scores:   cosine of the picture to the mean of each caption's pictures
    nearest:  the caption of the single nearest picture: what a copy says
    """

    captions: tuple[str, ...]
    scores: tuple[float, ...]
    nearest: str


@dataclass(frozen=True)
class Known:
    """Samples with their pooled features, float[N, W] each."""

    samples: Sequence[Sample]
    image: Tensor
    text: Tensor

    def picture_map(self, rows: Sequence[int], rank: int = RANK) -> AffineMap:
        """Pictures -> the space that regularised CCA of these rows' pictures and captions spans."""
        places = torch.as_tensor(rows)
        meanings = meaning_ids([self.samples[row].meanings for row in rows])
        captions = {self.samples[row].meanings[-1] for row in rows}
        most = min(rank, len(captions) - 1, self.image.shape[1], self.text.shape[1])
        alignment = align(
            {"image": self.image[places], "text": self.text[places]},
            None,
            meanings,
            rank=most,
            ridge={name: RIDGE[name] for name in ("image", "text")},
            power=1.0,
            anchors=("image", "text"),
        )
        return alignment.maps["image"]

    def neighbours(
        self, queries: Sequence[int], gallery: Sequence[int], fit: Sequence[int], k: int
    ) -> list[Neighbours]:
        """For each query row what it resembles among the gallery's rows, in the space fitted on `fit`.

        No query may be in `fit` or `gallery`: a space that has seen a picture and its caption puts them together,
        and a model trained on such neighbours would trust them more than those of a test deserve.
        """
        if seen := {*queries} & {*gallery, *fit}:
            raise ValueError(f"{len(seen)} queries are in the gallery or in what the space is fitted on")
        to_space = self.picture_map(fit)
        looked = F.normalize(to_space(self.image[torch.as_tensor(queries)]), dim=-1)
        kept = F.normalize(to_space(self.image[torch.as_tensor(gallery)]), dim=-1)
        captions: dict[str, str] = {}  # by its normal form, as it is written first
        for row in gallery:
            text = str(self.samples[row].columns["text"])
            captions.setdefault(normalised(text), text)
        number = {form: place for place, form in enumerate(captions)}
        owner = torch.tensor([number[normalised(str(self.samples[row].columns["text"]))] for row in gallery])
        means = F.normalize(torch.zeros(len(number), kept.shape[1]).index_add(0, owner, kept), dim=-1)
        written = list(captions.values())
        scores, places = (looked @ means.T).topk(min(k, len(written)), dim=1)
        nearest = owner[(looked @ kept.T).argmax(1)]
        return [
            Neighbours(
                tuple(written[place] for place in row.tolist()), tuple(score.tolist()), written[int(one)]
            )
            for row, score, one in zip(places, scores, nearest)
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
