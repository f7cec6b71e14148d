"""cached features -> the heads of a joint embedding, set to the closed-form alignment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from sensorium.data.batch import meaning_ids
from sensorium.data.feature_cache import CachedFeatures
from sensorium.data.sample import Sample
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.objectives.canonical_correlation import Alignment, align
from sensorium.projectors.canonical import CanonicalHead

# What over-fits less needs less (chosen on openmoji as unseen artist and fold 1 as unseen things, not on the tests).
RIDGE = {"image": 0.3, "text": 0.1, "audio": 0.3}


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
        anchors=("image", "text"),
    )
    for column, affine in alignment.maps.items():
        head = model.heads[column]
        assert isinstance(head, CanonicalHead)
        head.start(affine.mean, affine.matrix, alignment.correlations)
    return alignment
