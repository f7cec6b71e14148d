"""A start without labels: the columns of one row belong together, and each can be told from the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from sensorium.objectives.column_views import seen, without_one
from sensorium.objectives.info_nce import InfoNCE


@dataclass(frozen=True)
class Compared:
    """Unit vectors by name, as `InfoNCE.losses` reads them."""

    vectors: dict[str, Tensor]
    present: dict[str, Tensor]
    scale: Tensor
    bias: Tensor


class ColumnContrast:
    """(model, output, batch) -> {"info_nce/<column>-<column>": float[]}, a term: which rows belong together?

    InfoNCE (see there; CLIP's loss) between the projected pooled vectors of every two columns, at a fixed
    temperature. Trains the projectors; rows that share a meaning are positives of each other.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature: got {temperature}; expected a number above 0")
        self.temperature = temperature

    def __call__(self, model: Any, output: Any, batch: Any) -> dict[str, Tensor]:
        vectors = {name: unit(found.pooled[output.present[name]]) for name, found in output.columns.items()}
        return InfoNCE().losses(self._compared(vectors, output.present), batch.meanings)

    def _compared(self, vectors: dict[str, Tensor], present: dict[str, Tensor]) -> Compared:
        one = next(iter(vectors.values()))
        return Compared(vectors, present, one.new_tensor(1 / self.temperature), one.new_zeros(()))


class HiddenColumn(ColumnContrast):
    """(model, output, batch) -> {"hidden/<column>": float[]}, a term: what stood in the column that is hidden?

    Every row that has two columns or more loses one by chance; the fused vector of the others must be nearest to the
    projected vector of what was taken, among those of all rows that lost the same column (InfoNCE both ways: masked
    modelling, with a whole column as the mask and the answer chosen instead of drawn). Trains the fusion too.

    Raises ValueError for a fusion of several branches, or of another width than its columns.
    """

    def __call__(self, model: Any, output: Any, batch: Any) -> dict[str, Tensor]:
        fusion = model.fusion
        if len(fusion.branches) != 1 or fusion.out_width != fusion.width:
            raise ValueError(
                f"{type(fusion).__name__} has {len(fusion.branches)} branches of width {fusion.out_width}, columns "
                f"of {fusion.width}; a hidden column is told from one fused vector of the same width: take another "
                "kind of fusion (gated, concatenation), or ColumnContrast alone"
            )
        left, taken = without_one(output.present)
        fused = model.answer(seen(output.columns, left), left).fused.branches[fusion.branches[0]].pooled
        losses = {}
        for name, rows in taken.items():
            vectors = {"fused": unit(fused[rows]), name: unit(output.columns[name].pooled[rows])}
            compared = self._compared(vectors, {"fused": rows, name: rows})
            losses[f"hidden/{name}"] = InfoNCE().losses(compared, batch.meanings)[f"info_nce/fused-{name}"]
        return losses


def unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.float(), dim=-1)
