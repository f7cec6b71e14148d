"""A GRU over frames: the order of time counts, the padding does not."""

import numpy as np
import pytest
import torch

from sensorium.encoders.convolutional import ResNetEncoder
from sensorium.encoders.recurrent_video import GruVideoEncoder
from sensorium.encoders.video import FrameEncoder
from sensorium.media import Video


@pytest.fixture
def clips():
    random = np.random.default_rng(1)
    return [
        Video(random.integers(0, 256, (frames, 40, 60, 3), dtype=np.uint8), np.arange(frames) / 2.0)
        for frames in (4, 1, 3)
    ]


def encoder_of(**options):
    return GruVideoEncoder(ResNetEncoder(32, factor=1 / 8), 12, **options).eval()


@pytest.mark.parametrize("both_ways", [True, False])
def test_a_batch_gives_what_each_clip_gives_alone(clips, both_ways):
    encoder = encoder_of(both_ways=both_ways)
    together = encoder.encode(clips, dtype=torch.float32)
    assert together.mask.sum(1).tolist() == [4, 1, 3]
    for row, clip in enumerate(clips):
        alone = encoder.encode([clip], dtype=torch.float32)
        n = len(clip.frames)
        torch.testing.assert_close(together.tokens[row, :n], alone.tokens[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.pooled[row], alone.pooled[0], atol=1e-5, rtol=1e-4)


def test_a_clip_played_backwards_is_another_clip(clips):
    encoder = encoder_of()
    backwards = [Video(clip.frames[::-1].copy(), clip.times) for clip in clips]
    there, back = (encoder.encode(way, dtype=torch.float32).pooled for way in (clips, backwards))
    changed = (there - back).abs().amax(1)
    assert changed[0] > 1e-3
    assert changed[2] > 1e-3
    assert changed[1] < 1e-6  # of one frame
    frames = FrameEncoder(encoder.image)
    there, back = (frames.encode(way, dtype=torch.float32).pooled for way in (clips, backwards))
    torch.testing.assert_close(there, back)


def test_the_last_state_is_the_gru_over_the_frames_vectors(clips):
    encoder = encoder_of()
    vectors = encoder.image.encode(list(clips[0].frames), dtype=torch.float32).pooled
    with torch.no_grad():
        cell = torch.nn.GRUCell(encoder.image.width, 12)
        for name, weight in encoder.gru.named_parameters():
            getattr(cell, name.removesuffix("_l0")).copy_(weight)
        state = torch.zeros(12)
        for vector in vectors:
            state = cell(vector, state)
    got = encoder.encode(clips[:1], dtype=torch.float32).pooled[0]
    torch.testing.assert_close(got, state, atol=1e-5, rtol=1e-4)


def test_gradients_reach_the_pictures(clips):
    encoder = encoder_of().train()
    encoder(encoder.prepare(clips)).pooled.square().sum().backward()
    grad = encoder.image.stem[0].weight.grad
    assert grad is not None
    assert grad.abs().max() > 0
