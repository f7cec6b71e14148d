"""`RandomView`: several cached views of one column, one drawn for each row and batch.

[CachedFeatures] -> CachedFeatures that answers with a random one of them
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sensorium.data.feature_cache import CachedFeatures
from sensorium.features import Features


class RandomView:
    """Augmentation that a cache can hold: the same records seen in several ways (a picture on another ground, a
    caption in other words, a sentence by another speaker), each encoded once.

    Takes the place of one `CachedFeatures` in `Collator(cached=…)`. A record that only some views have is drawn
    from those. Draws from torch's global random state, which the training loop seeds for every batch.
    """

    def __init__(self, views: Sequence[CachedFeatures]) -> None:
        first = views[0]
        if any(view.what != "pooled" or view.width != first.width for view in views):
            kinds = [(view.what, view.width) for view in views]
            raise ValueError(f"views: expected pooled features of one width, got {kinds}")
        self.views, self.modality, self.width = tuple(views), first.modality, first.width

    def row(self, id: str) -> tuple[int, int] | None:
        """(view, its row) of one view that has the record, drawn at random; None when none has it."""
        having = [(place, row) for place, view in enumerate(self.views) if (row := view.row(id)) is not None]
        return having[int(torch.randint(len(having), ()))] if having else None

    def __getitem__(self, rows: Sequence[tuple[int, int]]) -> Features:
        pooled = torch.empty(len(rows), self.width)
        view_of, row_of = np.array(rows).T
        for place, view in enumerate(self.views):
            here = np.flatnonzero(view_of == place)
            if len(here):
                pooled[here] = view[row_of[here]].pooled
        return Features.from_pooled(pooled)
