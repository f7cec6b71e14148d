"""A video that was written is the video that is read: frames, order, times."""

import numpy as np
import pytest

from sensorium.media import Video
from sensorium.media.video import decode
from sensorium.media.writing import write_video


def test_what_is_written_is_read(tmp_path):
    frames = np.zeros((4, 33, 48, 3), np.uint8)
    for place, colour in enumerate(((220, 40, 40), (40, 200, 60), (50, 60, 210), (230, 220, 40))):
        frames[place] = colour
    write_video(Video(frames, np.linspace(0, 2, 4)), tmp_path / "clip.mp4")
    read = decode(tmp_path / "clip.mp4")
    assert read.frames.shape == (4, 34, 48, 3)  # H.264's colours want even sides
    assert np.abs(read.frames[:, :33].astype(int) - frames).max() <= 6
    assert read.times == pytest.approx([0, 2 / 3, 4 / 3, 2], abs=1e-3)


@pytest.mark.parametrize("times", [[0.0], [0.0, 0.0], [1.0, 0.5]])
def test_frames_need_times_that_rise(tmp_path, times):
    with pytest.raises(ValueError, match="at rising times"):
        write_video(Video(np.zeros((len(times), 8, 8, 3), np.uint8), np.array(times)), tmp_path / "x.mp4")
    assert not (tmp_path / "x.mp4").exists()
