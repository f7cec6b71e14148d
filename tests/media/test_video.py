import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from sensorium.media import Limits, MediaError, Source
from sensorium.media import audio as media_audio
from sensorium.media import video as media_video


def reds(video):
    """The red level of every frame, in the lower half."""
    return video.frames[:, video.frames.shape[1] // 2 + 4 :, :, 0].mean(axis=(1, 2))


def test_frames_are_sampled_by_time_and_show_what_was_there_then(videos, make):
    for name, data in videos.items():
        video = media_video.decode(data, frames=8)
        assert video.frames.shape == (8, 48, 64, 3), name
        assert video.frames.dtype == np.uint8
        assert video.times.dtype == np.float64
        # the middle of each eighth of four seconds, at most a frame (40 ms) away
        assert np.abs(video.times - (np.arange(8) + 0.5) * 0.5).max() <= 0.04 + 1e-9, name
        assert np.abs(reds(video) - make.red_at(video.times)).max() < 7, name
        top, bottom = video.frames[:, 4, 4], video.frames[:, -5, 4]
        assert np.abs(top[:, 1:].astype(int) - (128, 0)).max() < 12, name
        assert np.abs(bottom[:, 1:].astype(int) - (128, 128)).max() < 12, name


def test_seeking_and_decoding_straight_through_give_the_same_frames(videos):
    for name, data in videos.items():
        whole = media_video.decode(data, frames=500)
        some = media_video.decode(data, frames=5)
        assert len(whole.times) == 100, name
        assert np.abs(whole.times - np.arange(100) / 25).max() < 0.002, name
        index = np.searchsorted(whole.times, some.times)
        assert np.array_equal(whole.times[index], some.times), name
        assert np.array_equal(whole.frames[index], some.frames), name


def test_fps_samples_from_the_start(videos):
    video = media_video.decode(videos["mp4"], fps=2)
    assert np.allclose(
        video.times, [0, 0.48, 1, 1.48, 2, 2.48, 3, 3.48]
    )  # the frame on show at 0.5 came at 0.48
    assert len(media_video.decode(videos["mp4"], fps=1000, limits=Limits(frames=4000)).times) == 100
    assert media_video.decode(videos["mp4"], fps=0.01).times.tolist() == [0.0]


def test_a_video_with_fewer_frames_gives_all_of_them(make):
    video = media_video.decode(make.video(seconds=0.12), frames=8)
    assert np.allclose(video.times, [0.0, 0.04, 0.08])
    assert media_video.decode(make.video(seconds=0.04), frames=8).frames.shape == (1, 48, 64, 3)


def test_times_count_from_the_first_frame(make):
    out = io.BytesIO()
    with av.open(io.BytesIO(make.video("matroska"))) as old, av.open(out, "w", format="matroska") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.pts += 7000
                packet.dts = None if packet.dts is None else packet.dts + 7000
                packet.stream = stream
                new.mux(packet)
    late = media_video.decode(out.getvalue(), frames=4)
    assert np.allclose(late.times, [0.48, 1.48, 2.48, 3.48], atol=0.021)
    assert np.abs(reds(late) - make.red_at(late.times)).max() < 7


def test_a_wrong_duration_in_the_header_changes_nothing(videos):
    right = media_video.decode(videos["mp4"], frames=4)
    for wrong in (1, 400_000, 0):
        data = bytearray(videos["mp4"])
        for box, offset in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):  # ISO 14496-12 §8, version 0
            place = data.index(box) + offset
            data[place : place + 4] = struct.pack(">I", wrong)
        assert np.array_equal(media_video.decode(bytes(data), frames=4).times, right.times)


def test_frames_are_turned_as_phones_ask(videos):
    upright = media_video.decode(videos["mp4"], frames=2).frames
    one, minus = struct.pack(">i", 65536), struct.pack(">i", -65536)
    zero, unit = bytes(4), struct.pack(">i", 1 << 30)
    matrices = {  # a, b, u, c, d, v, x, y, w of ISO 14496-12 §8.3.2: (x, y) shown = stored · matrix
        1: zero + minus + zero + one + zero + zero + zero + zero + unit,  # a quarter turn counter-clockwise
        2: minus + zero + zero + zero + minus + zero + zero + zero + unit,
        3: zero + one + zero + minus + zero + zero + zero + zero + unit,
    }
    for quarters, matrix in matrices.items():
        data = bytearray(videos["mp4"])
        place = data.index(b"tkhd") + 44
        data[place : place + 36] = matrix
        turned = media_video.decode(bytes(data), frames=2).frames
        assert np.array_equal(turned, np.rot90(upright, quarters, axes=(1, 2)))


def test_short_side_scales_frames_down(videos, make):
    small = media_video.decode(videos["mp4"], frames=3, short_side=24)
    assert small.frames.shape == (3, 24, 32, 3)
    assert np.abs(small.frames[:, 18, 16, 0] - make.red_at(small.times)).max() < 7
    assert media_video.decode(videos["mp4"], frames=3, short_side=480).frames.shape == (3, 48, 64, 3)


def test_the_sound_track(videos):
    for name in ("mp4", "webm vp9"):
        sound = media_video.decode_sound(videos[name], rate=8_000)
        assert sound.rate == 8_000
        assert sound.seconds == pytest.approx(4.0, abs=0.06)
        spectrum = np.abs(np.fft.rfft(sound.samples[:32_000]))
        assert spectrum.argmax() / 4.0 == pytest.approx(440.0, abs=1.0)
        assert np.array_equal(sound.samples, media_audio.decode(videos[name], rate=8_000).samples)
    with pytest.raises(MediaError, match="without a sound track"):
        media_video.decode_sound(videos["mkv"])


def test_sound_alone_is_no_video_nor_is_its_cover(sounds, pictures, make):
    for name in ("m4a", "webm"):
        with pytest.raises(MediaError, match=r"without a video track|got M4A sound"):
            media_video.decode(sounds[name])
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 30, 20, "yuvj420p"
        cover.disposition = Disposition.attached_pic.value
        frame = av.VideoFrame(30, 20, "yuvj420p")
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        container.mux(cover.encode(frame))
        container.mux(cover.encode(None))
    with pytest.raises(MediaError, match="without a video track"):
        media_video.decode(out.getvalue())


def test_limits(videos):
    data = videos["mp4"]
    assert len(media_video.decode(data, Limits(seconds=4.0)).times) == 8
    with pytest.raises(MediaError, match=r"seconds of video or more; accepted: at most 3\.9"):
        media_video.decode(data, Limits(seconds=3.9))
    with pytest.raises(
        MediaError, match=r"40 frames \(4\.0 seconds at 10 per second\); accepted: at most 39"
    ):
        media_video.decode(data, Limits(frames=39), fps=10)
    with pytest.raises(ValueError, match="frames: got 9; expected 1 to 8"):
        media_video.decode(data, Limits(frames=8), frames=9)
    for frames, fps in ((0, None), (8, 0.0), (8, -1.0)):
        with pytest.raises(ValueError, match="expected"):
            media_video.decode(data, frames=frames, fps=fps)
    kept = 8 * 64 * 48
    assert media_video.decode(data, Limits(pixels=kept)).frames.size == 3 * kept
    with pytest.raises(MediaError, match=r"8 frames of 64 × 48.*at most 24,575 pixels"):
        media_video.decode(data, Limits(pixels=kept - 1))
    assert media_video.decode(data, Limits(pixels=kept - 1), short_side=24).frames.shape[0] == 8
    with pytest.raises(MediaError, match="stored as 64 × 48"):
        media_video.decode(data, Limits(pixels=64 * 48 - 1), short_side=4)


def test_a_long_video_is_refused_after_reading_packets_up_to_the_limit(make, monkeypatch):
    data = make.video("matroska", "mpeg4", seconds=20.0, fps=5, size=(16, 16))
    with pytest.raises(MediaError, match=r"got 2\.\d seconds of video or more"):  # not 20
        media_video.decode(data, Limits(seconds=2.0))


def test_a_codec_outside_the_list_is_named(make):
    data = make.video("avi", "cinepak", pixels="rgb24", seconds=0.2)
    with pytest.raises(MediaError, match="a video compressed as cinepak; accepted: MP4, WebM, MKV or AVI"):
        media_video.decode(data)


def test_through_a_source(tmp_path, videos):
    path = tmp_path / "clip.MP4"
    path.write_bytes(videos["mp4"])
    video = Source("video", path=path).decode(frames=3, short_side=24)
    assert video.frames.shape == (3, 24, 32, 3)
    assert np.array_equal(media_video.decode(str(path), frames=3, short_side=24).frames, video.frames)
    assert Source("audio", path=path).decode(rate=8_000).rate == 8_000


def test_what_is_decoded_on_the_way_to_a_frame_is_limited(make, monkeypatch):
    """Frames in which nothing moves take a few bytes each: 300 seconds of them could take hours."""
    near, far = make.video(gop=12), make.video(gop=1000)
    limits = Limits(pixels=64 * 48)  # one frame
    for data in (near, far):
        assert len(media_video.decode(data, limits, frames=1).frames) == 1
    monkeypatch.setattr(media_video, "_REACH", 40)
    assert len(media_video.decode(near, limits, frames=1).frames) == 1
    with pytest.raises(MediaError, match="122,880 pixels lie before the wanted frames"):
        media_video.decode(far, limits, frames=1)  # the wanted one is the fiftieth
