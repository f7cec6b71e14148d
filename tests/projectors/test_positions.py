"""Rows and columns added to a map."""

import pytest
import torch

from sensorium.features import Features
from sensorium.projectors.positions import GridPositions, TimePositions


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


def test_every_token_gets_its_place_in_time_and_late_ones_the_last(features_of, padding_never_counts):
    positions, given = TimePositions(4, places=3), features_of([5, 2], 4)
    made = positions(given).tokens
    for row, real in ((0, 5), (1, 2)):
        for t in range(real):
            torch.testing.assert_close(made[row, t], given.tokens[row, t] + positions.places[min(t, 2)])
    padding_never_counts(positions, given)
