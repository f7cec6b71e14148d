import numpy as np
import pytest
import torch

from sensorium.encoders.text import SentenceEncoder
from sensorium.encoders.video import FrameChanges, FrameEncoder
from sensorium.media import Video


def test_a_clip_is_the_mean_of_its_frames(efficientnet, pictures):
    random = np.random.default_rng(1)
    clips = [
        Video(random.integers(0, 256, (frames, 40, 60, 3), dtype=np.uint8), np.arange(frames) / 2.0)
        for frames in (3, 1, 2)
    ]
    features = FrameEncoder(efficientnet).encode(clips, dtype=torch.float32)
    assert features.mask.tolist() == [[True, True, True], [True, False, False], [True, True, False]]
    for row, clip in enumerate(clips):
        frames = efficientnet.encode(list(clip.frames), dtype=torch.float32).pooled
        n = len(frames)
        torch.testing.assert_close(features.tokens[row, :n], frames, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(features.pooled[row], frames.mean(0), atol=1e-4, rtol=1e-4)


def test_the_picture_encoder_decides_preparation_and_identity(efficientnet):
    encoder = FrameEncoder(efficientnet)
    assert efficientnet.preparation in encoder.preparation
    assert encoder.width == 1280
    assert encoder.identity != efficientnet.identity


def test_clips_without_frames_and_encoders_of_words_are_refused(efficientnet, minilm: SentenceEncoder):
    empty = Video(np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0))
    with pytest.raises(ValueError, match="clip 0 of the batch has no frames"):
        FrameEncoder(efficientnet).prepare([empty])
    with pytest.raises(ValueError, match="got an encoder of text"):
        FrameEncoder(minilm)


def test_changes_turn_round_with_the_order_of_the_frames(efficientnet):
    random = np.random.default_rng(2)
    frames = random.integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    clips = [Video(order, np.arange(len(order)) / 2.0) for order in (frames, frames[::-1], frames[:2])]
    encoder, D = FrameChanges(efficientnet), efficientnet.width
    found = encoder.encode(clips, dtype=torch.float32)
    seen = efficientnet.encode(list(frames), dtype=torch.float32).pooled
    assert encoder.width == 2 * D
    close = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(found.tokens[0, :, :D], seen, **close)
    torch.testing.assert_close(found.tokens[0, 1:, D:], seen[1:] - seen[:-1], **close)
    assert found.tokens[0, 0, D:].abs().max() == 0
    torch.testing.assert_close(found.pooled[0], torch.cat([seen.mean(0), seen[2] - seen[0]]), **close)
    torch.testing.assert_close(found.pooled[1], torch.cat([seen.mean(0), seen[0] - seen[2]]), **close)
    # The third clip is shorter: its last frame is its second.
    torch.testing.assert_close(found.pooled[2], torch.cat([seen[:2].mean(0), seen[1] - seen[0]]), **close)
    assert encoder.identity != FrameEncoder(efficientnet).identity
