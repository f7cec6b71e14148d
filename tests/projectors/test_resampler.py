"""The Perceiver resampler: parity with transformers' Idefics, masks, time."""

import pytest
import torch
from torch import nn

from sensorium.features import Features
from sensorium.projectors import PerceiverResampler
from sensorium.projectors.resampler import from_transformers

W, R = 12, 3


@torch.no_grad()
def test_parity_with_idefics(features_of):
    from transformers import IdeficsConfig
    from transformers.models.idefics.perceiver import IdeficsPerceiverResampler

    torch.manual_seed(0)
    config = IdeficsConfig(
        vision_config={"embed_dim": W}, perceiver_config={"qk_layer_norms_perceiver": False}
    )
    theirs = IdeficsPerceiverResampler(config, W, depth=3, n_heads=2, head_dim=5, n_latents=R).eval()
    for parameter in theirs.parameters():
        parameter.normal_(std=0.5)
    ours = PerceiverResampler(W, layers=3, heads=2, latents=R, head_width=5, activation=nn.ReLU())
    ours.load_state_dict(from_transformers(theirs.state_dict()))
    features = features_of([6, 2], W)
    out = ours(features)
    for row, count in ((0, 6), (1, 2)):  # theirs knows no mask: each item alone
        expected = theirs(features.tokens[row : row + 1, :count])[0]
        torch.testing.assert_close(out.tokens[row], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(out.pooled[row], expected.mean(0), atol=1e-5, rtol=1e-5)
    assert (ours.width, ours.length, ours.length_of(99)) == (W, R, R)


def resampler(frames: int = 4, frame_tokens: int = 2) -> PerceiverResampler:
    torch.manual_seed(0)
    return PerceiverResampler(W, layers=2, heads=3, latents=R, frames=frames, frame_tokens=frame_tokens)


@pytest.mark.parametrize("frames", [0, 2, 4])
@torch.no_grad()
def test_padding_never_changes_a_result(frames, features_of, padding_never_counts):
    padding_never_counts(
        resampler(frames), features_of([6, 2, 0], W)
    )  # 2: an item of more frames than moments


@torch.no_grad()
def test_time_is_added_to_every_token_of_a_frame(features_of):
    timed, timeless = resampler(), resampler(frames=0)
    timeless.load_state_dict({k: v for k, v in timed.state_dict().items() if k != "times"})
    features = features_of([8, 8], W)
    added = features.tokens + timed.times.repeat_interleave(2, 0)
    expected = timeless(Features(added, features.mask, features.pooled)).tokens
    torch.testing.assert_close(timed(features).tokens, expected)

    # 7 frames at 4 moments: every second one lies between two moments
    features = features_of([14], W)
    between = [
        timed.times[i // 2] if i % 2 == 0 else timed.times[i // 2 : i // 2 + 2].mean(0) for i in range(7)
    ]
    added = features.tokens + torch.stack(between).repeat_interleave(2, 0)
    expected = timeless(Features(added, features.mask, features.pooled)).tokens
    torch.testing.assert_close(timed(features).tokens, expected)


@torch.no_grad()
def test_without_time_order_does_not_count_and_with_time_it_does(features_of):
    features = features_of([8], W)
    backwards = Features(features.tokens.flip(1), features.mask, features.pooled)
    timeless, timed = resampler(frames=0), resampler()
    torch.testing.assert_close(timeless(backwards).tokens, timeless(features).tokens)
    assert (timed(backwards).tokens - timed(features).tokens).abs().max() > 1e-2


def test_a_missing_item_gives_finite_gradients_and_is_no_token(features_of):
    ours = resampler()
    out = ours(features_of([4, 0], W))
    assert out.mask.tolist() == [[True] * R, [False] * R]
    out.tokens.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in ours.parameters())
    assert ours.latents.grad.abs().max() > 0


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="layers=0"):
        PerceiverResampler(W, layers=0, heads=2, latents=R)
