"""Opens what FFmpeg decodes, with everything in FFmpeg that could reach out of the file shut off.

Source -> av container of one allowed format
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import av
from av.container import InputContainer

from sensorium.media.limits import Limits
from sensorium.media.signatures import HEAD, kind_of
from sensorium.media.source import Source
from sensorium.media.types import MediaError

# The demuxer is forced from this table: FFmpeg never gets to guess, and formats that name other files (HLS,
# DASH, concat, SDP, image sequences) are not in it.
DEMUXERS = {
    "MP4 video": "mp4",
    "M4A sound": "mp4",
    "WebM or Matroska video": "matroska",
    "AVI video": "avi",
    "OGG sound": "ogg",
    "MP3 sound": "mp3",
    "FLAC sound": "flac",
    "WAV sound": "wav",
}
VIDEO_KINDS = ("MP4 video", "WebM or Matroska video", "AVI video")

# FFmpeg holds hundreds of decoders for formats nobody brings; only these may see untrusted bytes.
_DECODERS = """
    h264 hevc vp8 vp9 libvpx libvpx-vp9 av1 libdav1d libaom-av1 mpeg4 msmpeg4 msmpeg4v1 msmpeg4v2 msmpeg4v3
    h263 mpeg1video mpeg2video theora mjpeg prores ffv1 huffyuv rawvideo png gif wmv1 wmv2
    aac aac_fixed mp1 mp2 mp3 mp1float mp2float mp3float opus libopus vorbis libvorbis flac alac ac3 eac3
    amrnb amrwb adpcm_ms adpcm_ima_wav adpcm_ima_qt gsm gsm_ms wmav1 wmav2 pcm_alaw pcm_mulaw pcm_u8 pcm_s8
    pcm_s16le pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_s32be pcm_f32le pcm_f32be pcm_f64le pcm_f64be
"""
CODECS = frozenset(_DECODERS.split())


# A QuickTime file may say that its pictures lie in another file (`dref` of kind alis): not followed.
_CONTAINED = {"protocol_whitelist": "none", "enable_drefs": "0"}


def _refuse(url: str, flags: int, options: dict) -> NoReturn:
    raise PermissionError(f"the file asks for another file: {url}")


@contextmanager
def opened(source: Source, kinds: tuple[str, ...], accepted: str, limits: Limits) -> Iterator[InputContainer]:
    """The container, read through our own file object; refuses a file whose signature is not of `kinds`."""
    with source.open(limits) as stream:
        kind = kind_of(stream.read(HEAD))
        if kind not in kinds:
            raise MediaError(source.name, kind, accepted)
        stream.seek(0)
        options = {
            "max_pixels": str(min(limits.pixels, 2**31 - 1)),
            "codec_whitelist": ",".join(sorted(CODECS)),
        }
        with av.open(
            stream,
            mode="r",
            format=DEMUXERS[kind],
            options=options,
            container_options=_CONTAINED,
            metadata_errors="replace",
            io_open=_refuse,
        ) as container:
            for found in container.streams:
                if found.codec_context is not None:
                    found.codec_context.options = options
                    found.codec_context.thread_count = 1  # loader workers decode many files side by side
            yield container
