"""cached features -> the heads of a joint embedding, set to the closed-form alignment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.data.batch import meaning_ids
from sensorium.data.feature_cache import CachedFeatures
from sensorium.data.sample import Sample
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.objectives.canonical_correlation import Alignment, align
from sensorium.projectors.canonical import CanonicalHead

# What over-fits less needs less (chosen on openmoji as unseen artist and fold 1 as unseen things, that of audio on
# eight validation splits, see docs/results.md; none on the tests).
RIDGE = {"image": 0.3, "text": 0.1, "audio": 3.0, "video": 0.3}


def start_from_closed_form(
    model: JointEmbedding, samples: list[Sample], views: Mapping[str, list[CachedFeatures]]
) -> Alignment:
    """Fit regularised CCA on the cached features, every view of every record, and set the heads to it.

    views: by column, the features of `samples` (those that have the column), once or in several views
    """
    most = max(len(found) for found in views.values())
    meanings = meaning_ids([sample.meanings for sample in samples]).repeat(most, 1)  # view after view
    features, present = {}, {}
    for column, found in views.items():
        places = [[view.row(sample.id) for sample in samples] for view in found]
        has = [torch.tensor([row is not None for row in rows]) for rows in places]
        present[column] = torch.cat(has + [torch.zeros(len(samples), dtype=torch.bool)] * (most - len(found)))
        pooled = [view.pooled([row for row in rows if row is not None]) for view, rows in zip(found, places)]
        features[column] = torch.from_numpy(np.concatenate(pooled))
    alignment = align(
        features,
        present,
        meanings,
        rank=model.width,
        ridge={column: RIDGE[column] for column in views},
        power=0.0,
        anchors=("image", "text") if {"image", "text"} <= set(features) else None,
    )
    for column, affine in alignment.maps.items():
        head = model.heads[column]
        assert isinstance(head, CanonicalHead)
        head.start(affine.mean, affine.matrix, alignment.correlations)
    return alignment


def distinct_captions(samples: list[Sample]) -> Tensor:
    """int64[N]: which of the captions, numbered as they first come, each record has."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(str(sample.columns["text"]), len(numbers)) for sample in samples])


def to_remember(samples: list[Sample]) -> dict[str, int]:
    """By column, how many examples `remember` gives its head: pictures, distinct captions, spoken sentences."""
    counts = {
        "image": len(samples),
        "text": int(distinct_captions(samples).max()) + 1,
        "audio": sum("audio" in sample.columns for sample in samples),
    }
    return {column: count for column, count in counts.items() if count}


def remember(
    model: JointEmbedding,
    samples: list[Sample],
    views: Mapping[str, list[CachedFeatures]],
    alignment: Alignment,
) -> None:
    """Give every head its training examples to recall, in the space of the closed form.

    A picture recalls captions, a caption the mean of its pictures, a spoken sentence its picture and caption.
    """
    embedded = {}  # by column float[N, D]: the mean over the views, 0 where a record lacks the column
    for column, found in views.items():
        embedded[column] = torch.zeros(len(samples), model.width)
        for view in found:
            rows = [view.row(sample.id) for sample in samples]
            has = [place for place, row in enumerate(rows) if row is not None]
            pooled = torch.from_numpy(view.pooled([row for row in rows if row is not None]))
            vectors = alignment.maps[column](pooled) * alignment.correlations
            embedded[column][has] += F.normalize(vectors, dim=-1)
        embedded[column] = F.normalize(embedded[column], dim=-1)
    image, text = embedded["image"], embedded["text"]
    caption = distinct_captions(samples)
    captions = int(caption.max()) + 1
    first = [caption.tolist().index(number) for number in range(captions)]
    of_caption = torch.zeros(captions, model.width).index_add_(0, caption, image)
    examples = {"image": (image, text), "text": (text[first], F.normalize(of_caption, dim=-1))}
    if "audio" in embedded:
        spoken = embedded["audio"].any(1)
        examples["audio"] = embedded["audio"][spoken], (image[spoken] + text[spoken]) / 2
    for column, (keys, values) in examples.items():
        head = model.heads[column]
        assert isinstance(head, CanonicalHead)
        assert head.recall is not None
        head.recall.remember(keys, values, alignment.correlations)
