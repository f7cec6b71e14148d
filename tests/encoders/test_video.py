import numpy as np
import pytest
import torch

from sensorium.encoders.text import SentenceEncoder
from sensorium.encoders.video import FrameEncoder
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
