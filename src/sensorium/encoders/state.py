"""States (named numbers that a sensor gives) -> Features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.encoders.encoder import Encoder
from sensorium.features import Features

SHOWN = 3  # names shown of each end of a schema, in errors


class StateEncoder(Encoder):
    """A state vector -> one token, or one for each object that its names speak of.

        float32[D] ──► numbers of a token ──► linear ─ GELU ─ linear ──► + slot ──► tokens float[B, S, W]
                                                                                    mean = pooled

    The state estimation vectors of PaLM-E (Driess et al. 2023, arXiv:2303.03378, section 4).

    schema:    D names, such as "robot.x"; what every number is
    width:     W
    by_object: a token for each run of names with the same word before the dot ("thing0.x", "thing0.y", "goal.x": two
               tokens); objects with the same names behind the dot share their layers, and a learned vector, `slot`,
               tells them apart. False: one token for all

    Raises ValueError for a schema that is empty or names something twice, or an object in two places.
    """

    modality = "state"

    def __init__(self, schema: Sequence[str], width: int, by_object: bool = False) -> None:
        super().__init__()
        self.schema, self.width = tuple(schema), width
        if not self.schema or len(set(self.schema)) < len(self.schema):
            raise ValueError(f"schema: got {_some(self.schema)}; expected different names, at least one")
        runs = [(o, list(names)) for o, names in groupby(self.schema, lambda n: n.partition(".")[0])]
        if not by_object:
            runs = [("", list(self.schema))]
        if len({name for name, _ in runs}) < len(runs):
            raise ValueError(
                f"schema: got the objects {', '.join(name for name, _ in runs)}; expected the names of each object "
                "beside each other"
            )
        self.objects = tuple(name for name, _ in runs)
        self.counts = [len(names) for _, names in runs]
        kinds = [tuple(name.removeprefix(f"{o}.") for name in names) for o, names in runs]
        first = {kind: number for number, kind in reversed(list(enumerate(kinds)))}
        self.kinds = [
            str(first[kind]) for kind in kinds
        ]  # which layers read a slot: those of the first alike
        self.layers = nn.ModuleDict(
            {
                str(number): nn.Sequential(nn.Linear(len(kind), width), nn.GELU(), nn.Linear(width, width))
                for kind, number in first.items()
            }
        )
        self.slots = nn.Parameter(0.02 * torch.randn(len(runs), width))
        self.config = {"schema": list(self.schema), "by_object": by_object, "width": width}
        self.preparation = f"the numbers {', '.join(self.schema)}"

    def token_count(self, media: np.ndarray) -> int:
        return len(self.kinds)

    def prepare(self, media: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """float32[D] states -> {"state": float32[B, D]}. Raises ValueError for another length or for nan."""
        rows = [np.asarray(state, np.float32) for state in media]
        for number, row in enumerate(rows):
            if row.shape != (len(self.schema),):
                raise ValueError(
                    f"state {number} of the batch: got {list(row.shape)} numbers; expected {len(self.schema)}: "
                    f"{_some(self.schema)}"
                )
            if not np.isfinite(row).all():
                wrong = self.schema[int(np.flatnonzero(~np.isfinite(row))[0])]
                raise ValueError(
                    f"state {number} of the batch: {wrong} is {row[self.schema.index(wrong)]}; expected a number"
                )
        return {"state": torch.from_numpy(np.stack(rows))}

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """{"state": float[B, D]} -> Features of one token a slot."""
        numbers = inputs["state"].to(self.slots.dtype).split(self.counts, dim=1)
        read = [self.layers[kind](part) for kind, part in zip(self.kinds, numbers, strict=True)]
        tokens = torch.stack(read, 1) + self.slots
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Features(tokens, mask, tokens.mean(1, dtype=torch.float32))


def _some(names: Sequence[str]) -> str:
    if len(names) <= 2 * SHOWN:
        return ", ".join(names) or "nothing"
    return f"{', '.join(names[:SHOWN])} … {', '.join(names[-SHOWN:])}"
