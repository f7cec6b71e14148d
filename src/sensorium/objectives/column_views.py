"""Rows seen through some of their columns: what objectives that compare such views are made of.

{column: Features}, {column: bool[B]} ──► kept ──► the same rows, some of their columns gone
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor


def seen(columns: Mapping[str, Any], kept: Mapping[str, Tensor]) -> dict[str, Any]:
    """The columns (`Features`) with zeros and an empty mask where they are not kept (bool[B] by column)."""
    return {
        name: replace(
            found,
            tokens=found.tokens.masked_fill(~kept[name][:, None, None], 0.0),
            mask=found.mask & kept[name][:, None],
            pooled=found.pooled.masked_fill(~kept[name][:, None], 0.0),
        )
        for name, found in columns.items()
    }


def only(column: str, present: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Presence of rows of which nothing but this column is seen."""
    return {name: here & (name == column) for name, here in present.items()}


def without_one(present: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Every row that has two columns or more loses one of them by chance -> (what is left, what was taken)."""
    here = torch.stack(list(present.values()), 1)  # [B, N]
    draws = torch.rand(here.shape, device=here.device).masked_fill(~here, -1.0)
    taken = torch.zeros_like(here).scatter(1, draws.argmax(1, keepdim=True), True)
    taken &= (here.sum(1) > 1)[:, None]
    left = here & ~taken
    return (
        {name: left[:, place] for place, name in enumerate(present)},
        {name: taken[:, place] for place, name in enumerate(present)},
    )


def noised(columns: Mapping[str, Any], amount: float) -> dict[str, Any]:
    """The columns with Gaussian noise of `amount` times the spread of each vector on its numbers."""

    def noise(x: Tensor) -> Tensor:
        return x + amount * x.detach().std(-1, keepdim=True) * torch.randn_like(x)

    return {
        name: replace(found, tokens=noise(found.tokens) * found.mask[..., None], pooled=noise(found.pooled))
        for name, found in columns.items()
    }
