"""Rows and columns added to a map."""

import pytest
import torch

from sensorium.features import Features
from sensorium.projectors.positions import GridPositions


def features(side: int, width: int, batch: int = 2) -> Features:
    tokens = torch.randn(batch, side**2, width)
    return Features(tokens, torch.ones(batch, side**2, dtype=torch.bool), tokens.mean(1))


def test_every_token_gets_its_row_and_its_column():
    positions, given = GridPositions(4, side=3), features(3, 4)
    made = positions(given).tokens
    for cell in range(9):
        added = positions.rows[cell // 3] + positions.columns[cell % 3]
        torch.testing.assert_close(made[:, cell], given.tokens[:, cell] + added)


def test_another_grid_is_refused():
    with pytest.raises(ValueError, match="got items of 16 tokens; expected a grid of 3 × 3 = 9"):
        GridPositions(4, side=3)(features(4, 4))
