"""Features with padding, and what every projector must keep: padding never changes a result."""

import pytest
import torch

from sensorium.features import Features


def random_features(lengths: list[int], width: int, seed: int = 0) -> Features:
    """Items of so many real tokens each, padded with zeros to the longest."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(lengths), max(lengths), width, generator=generator)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    tokens = tokens * mask[..., None]
    return Features(tokens, mask, torch.randn(len(lengths), width, generator=generator))


def assert_padding_never_counts(projector, features: Features, extra: int = 3) -> None:
    """Garbage, huge numbers and nan where the mask is False, and more tokens of it, leave results as they are.

    Also: each item alone, cut to its real tokens, gives the same.
    """
    projector.eval()
    expected = projector(features)
    B, T, W = features.tokens.shape
    for garbage in (1e4, float("nan"), float("inf")):
        tokens = torch.full((B, T + extra, W), garbage)
        mask = torch.zeros(B, T + extra, dtype=torch.bool)
        mask[:, :T] = features.mask
        tokens[mask] = features.tokens[features.mask]
        found = projector(Features(tokens, mask, features.pooled))
        n = expected.tokens.shape[1]
        torch.testing.assert_close(found.tokens[:, :n], expected.tokens, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(found.pooled, expected.pooled, atol=1e-6, rtol=1e-5)
        assert torch.equal(found.mask[:, :n], expected.mask)
        assert not found.mask[:, n:].any()
        assert not found.tokens[~found.mask].any()  # padding leaves as zeros
        assert found.tokens.shape[2] == projector.width
    for row, count in enumerate(features.mask.sum(1).tolist()):
        if count:
            alone = Features(
                features.tokens[row : row + 1, :count],
                features.mask[row : row + 1, :count],
                features.pooled[row : row + 1],
            )
            out = projector(alone)
            kept = expected.tokens[row][expected.mask[row]]
            torch.testing.assert_close(out.tokens[out.mask], kept, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(out.pooled[0], expected.pooled[row], atol=1e-6, rtol=1e-5)
    counts = [projector.length_of(int(count)) if count else 0 for count in features.mask.sum(1)]
    assert expected.mask.sum(1).tolist() == counts


@pytest.fixture
def features_of():
    return random_features


@pytest.fixture
def padding_never_counts():
    return assert_padding_never_counts
