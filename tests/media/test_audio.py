import io
import struct

import numpy as np
import pytest
import soundfile

from sensorium.media import Audio, Limits, MediaError, Source
from sensorium.media import audio as media_audio


def frequency(audio: Audio) -> float:
    """Of the strongest tone, in Hz, from the middle second."""
    middle = audio.samples[len(audio.samples) // 4 : -len(audio.samples) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(spectrum.argmax() * audio.rate / len(middle))


def test_every_format_gives_the_same_tone(sounds):
    for name, data in sounds.items():
        for rate in (16_000, 48_000):
            audio = media_audio.decode(data, rate=rate)
            assert (audio.rate, audio.samples.dtype, audio.samples.ndim) == (rate, np.float32, 1), name
            assert audio.seconds == pytest.approx(2.0, abs=0.06), name  # AAC pads to whole frames
            assert frequency(audio) == pytest.approx(440.0, abs=1.0), name
            assert np.sqrt(np.mean(audio.samples**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.03), name


def test_lossless_sound_at_its_own_rate_is_returned_exactly(make):
    samples = make.tone(0.5, 16_000)
    for format, subtype, step in (("WAV", "PCM_16", 2**-15), ("FLAC", "PCM_24", 2**-23), ("WAV", "FLOAT", 0)):
        decoded = media_audio.decode(make.sound(format, subtype, samples=samples, rate=16_000))
        assert np.abs(decoded.samples - samples[:, 0]).max() <= step


def test_libsndfile_and_ffmpeg_agree(sounds):
    for name in ("wav", "wav 24", "wav float", "flac", "ogg", "opus", "mp3"):
        source = Source("audio", data=sounds[name])
        one = media_audio._by_libsndfile(source, Limits(), 16_000)
        two = media_audio._by_ffmpeg(source, Limits(), 16_000)
        length = min(len(one), len(two))
        assert abs(len(one) - len(two)) <= 0.06 * 16_000, name
        middle = slice(length // 4, -length // 4)
        assert np.abs(one[:length] - two[:length])[middle].max() < 0.01, name


def test_channels_are_averaged(make):
    samples = make.tone(0.25, 16_000, right=-1.0)
    samples[2000:, 1] = 0.0
    decoded = media_audio.decode(make.sound("WAV", "FLOAT", samples=samples, rate=16_000)).samples
    assert np.abs(decoded[:2000]).max() == 0.0
    assert np.allclose(decoded[2000:], samples[2000:, 0] / 2, atol=1e-7)


def test_resampling_block_by_block_equals_resampling_at_once(make):
    import soxr

    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 400_000).astype(np.float32)  # several blocks
    decoded = media_audio.decode(make.sound("WAV", "FLOAT", samples=samples, rate=44_100), rate=16_000)
    at_once = soxr.resample(samples, 44_100, 16_000)
    assert len(decoded.samples) == len(at_once)
    assert np.abs(decoded.samples - at_once).max() < 1e-5


def test_samples_beyond_full_scale_are_clipped_and_nonsense_is_refused(make):
    loud = np.array([0.5, 1.5, -3.0], np.float32)
    decoded = media_audio.decode(make.sound("WAV", "FLOAT", samples=loud, rate=16_000))
    assert decoded.samples.tolist() == [0.5, 1.0, -1.0]
    for wrong in (20_000.0, np.nan, np.inf):  # 16-bit numbers written as floats; damage
        data = make.sound("WAV", "FLOAT", samples=np.array([0.1, wrong], np.float32), rate=16_000)
        with pytest.raises(MediaError, match=r"samples as large as .*; accepted: samples in \[-1, 1\]"):
            media_audio.decode(data)


def test_sound_without_samples_is_refused_and_silence_is_not(make):
    with pytest.raises(MediaError, match="without a single sample"):
        media_audio.decode(make.sound("WAV", "PCM_16", seconds=0))
    silence = media_audio.decode(make.sound("WAV", "PCM_16", samples=np.zeros(160, np.float32), rate=16_000))
    assert silence.samples.tolist() == [0.0] * 160


def test_the_limit_on_seconds(sounds):
    for name, data in sounds.items():
        assert media_audio.decode(data, Limits(seconds=2.1)).seconds > 1.9
        with pytest.raises(MediaError, match=r"seconds of sound or more; accepted: at most 1\.5"):
            media_audio.decode(Source("audio", data=data, name=name), Limits(seconds=1.5))


def test_a_small_file_that_unpacks_to_hours_is_stopped_early(make, monkeypatch):
    hours = np.zeros(16_000 * 1200, np.int16)
    out = io.BytesIO()
    soundfile.write(out, hours, 16_000, format="FLAC", subtype="PCM_16")
    small = bytearray(out.getvalue())
    assert len(small) < 200_000
    with pytest.raises(MediaError, match=r"1,200\.0 seconds of sound or more"):  # stated in its header
        media_audio.decode(bytes(small), Limits(seconds=10))
    # The header now states no length: samples 36 bits wide, after 4 + 4 + 10 bytes and 28 bits
    small[21] &= 0xF0
    small[22:26] = bytes(4)
    decoded = 0
    by_block = media_audio._libsndfile_blocks

    def counted(source, sound, length, limits):
        nonlocal decoded
        for block in by_block(source, sound, length, limits):
            decoded += len(block)
            yield block

    monkeypatch.setattr(media_audio, "_libsndfile_blocks", counted)
    with pytest.raises(MediaError, match="seconds of sound or more"):
        media_audio.decode(bytes(small), Limits(seconds=10))
    assert 160_000 < decoded <= 160_000 + media_audio._BLOCK


def test_files_cut_short_are_refused_where_their_format_tells(sounds):
    for name in ("wav", "wav 24", "wav float", "flac", "mp3", "m4a", "m4a alac"):
        for share in (0.01, 0.5, 0.9):
            with pytest.raises(MediaError):
                media_audio.decode(
                    Source("audio", data=sounds[name][: int(share * len(sounds[name]))], name=name)
                )
    with pytest.raises(MediaError, match="WAV sound cut short by 100 bytes"):
        media_audio.decode(sounds["wav"][:-100])


def test_an_mp3_that_does_not_state_its_length_is_read_to_its_end(make):
    quiet_then_loud = np.zeros(176_400, np.float32)
    quiet_then_loud[88_200:] = np.random.default_rng(0).uniform(-0.5, 0.5, 88_200)
    out = io.BytesIO()
    soundfile.write(
        out, quiet_then_loud, 44_100, format="MP3", subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE", compression_level=0.2,
    )  # fmt: skip
    data = out.getvalue()
    stated, bare = data, data[data.index(b"\xff\xfb", 100) :]  # without the frame that counts the others
    with soundfile.SoundFile(io.BytesIO(bare)) as sound:
        assert sound.frames > 300_000  # what libsndfile guesses from the first, quiet frames
    tags = b"ID3\4\0\0\0\0\1\0" + bytes(128)
    for variant in (stated, bare, tags + stated, tags + bare):
        assert media_audio.decode(variant, Limits(seconds=4.1)).seconds == pytest.approx(4.0, abs=0.06)
        assert np.abs(media_audio.decode(variant).samples[:30_000]).max() < 0.01
    assert media_audio.decode(bare[: len(bare) // 2]).seconds < 3.0  # nothing tells that it was cut
    with pytest.raises(MediaError, match="breaks off after"):
        media_audio.decode(stated[: len(stated) // 2])


def test_a_wav_written_into_a_pipe_states_no_length_and_is_read_whole(make):
    data = bytearray(make.sound("WAV", "PCM_16", seconds=0.5, rate=16_000))
    place = data.index(b"data") + 4
    for stated in (0xFFFFFFFF, 0x7FFFFFFF):
        data[place : place + 4] = struct.pack("<I", stated)
        assert media_audio.decode(bytes(data)).seconds == pytest.approx(0.5, abs=1e-3)


def test_impossible_rates_are_refused(make):
    data = bytearray(make.sound("WAV", "PCM_16", seconds=0.1))
    for stated in (999, 2**31 - 1):
        data[24:28] = struct.pack("<I", stated)
        with pytest.raises(MediaError, match=f"{stated} samples per second"):
            media_audio.decode(bytes(data))
    for rate in (0, -1, 16_000.5, "16000"):
        with pytest.raises(ValueError, match="expected whole samples per second"):
            media_audio.decode(bytes(data), rate=rate)


def test_faster_speech_is_shorter_and_higher(sounds):
    for speed in (0.9, 1.25):
        heard = Source("audio", data=sounds["wav"]).decode(speed=speed)
        assert heard.rate == 16_000
        assert heard.seconds == pytest.approx(2.0 / speed, abs=1e-3)
        assert frequency(heard) == pytest.approx(440.0 * speed, abs=1.0)
    for speed in (0.0, 3.0, float("nan")):
        with pytest.raises(ValueError, match=r"expected 0\.5 to 2\.0 times as fast"):
            media_audio.decode(sounds["wav"], speed=speed)


def test_a_picture_is_not_sound(pictures):
    with pytest.raises(MediaError, match="got PNG picture; accepted: WAV, FLAC"):
        Source("audio", data=pictures["png"]).decode()


def test_samples_of_all_channels_are_limited(make):
    """Silence of many channels at a high rate is a file of some kilobytes and minutes of work."""
    silence = np.zeros((96_000, 64), np.float32)
    for data in (
        make.sound("OGG", "VORBIS", rate=96_000, samples=silence),
        make.sound("WAV", "PCM_U8", rate=96_000, samples=silence),
    ):
        assert media_audio.decode(data, Limits(seconds=4.0)).seconds == pytest.approx(1.0, abs=0.01)
        with pytest.raises(MediaError, match="samples of all channels or more; accepted: at most 5,376,000"):
            media_audio.decode(data, Limits(seconds=3.5))
