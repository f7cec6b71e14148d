"""BLIP's pretraining: contrast, matching and captioning of the same pairs, their pictures seen once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from sensorium.objectives.captioning import Captioning
from sensorium.objectives.info_nce import InfoNCE
from sensorium.objectives.matching import Matching
from sensorium.objectives.momentum_contrast import MomentumContrast


@dataclass(frozen=True)
class ImageText:
    """(model, batch) -> {"contrast", "matching", "captioning"}: float[] each; their sum is BLIP's (§3.2).

        pictures ─► vision ─► Pairs ─┬─► InfoNCE, or MomentumContrast where the model has a queue
         (once)                      ├─► Matching: hard negatives by the contrast's own cosines
                                     └─► Captioning

    Three passes through the transformer of words, one through the (far heavier) vision, as the paper counts.
    """

    contrast: InfoNCE = field(default_factory=InfoNCE)
    momentum: MomentumContrast = field(default_factory=MomentumContrast)
    matching: Matching = field(default_factory=Matching)
    captioning: Captioning = field(default_factory=Captioning)

    def __call__(self, model: Any, batch: Any) -> dict[str, Tensor]:
        pairs = model(batch)
        if model.queue is None:
            (contrast,) = self.contrast.losses(
                pairs, batch.meanings[pairs.rows.to(batch.meanings.device)]
            ).values()
            found = {"contrast": contrast}
        else:
            column = batch.columns[model.image_column]
            found = self.momentum.losses(model, pairs, batch.meanings, column)
        return (
            found | self.matching.losses(model, pairs, batch.meanings) | self.captioning.losses(model, pairs)
        )
