"""`Source`: media that is not decoded yet, and the key by which its content is known.

path | bytes -> Source -> Media
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np

from sensorium.media.limits import LIMITS, Limits
from sensorium.media.types import Audio, Media, MediaError, Video

SUFFIXES = {
    "image": ("png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "tif", "tiff"),
    "audio": ("wav", "flac", "ogg", "oga", "mp3", "m4a", "opus"),
    "video": ("mp4", "m4v", "mov", "webm", "mkv", "avi"),
    "text": ("txt", "text"),
}
_MODALITY_OF_SUFFIX = {f".{suffix}": modality for modality, all_ in SUFFIXES.items() for suffix in all_}

Stream = io.BufferedReader | io.BytesIO

WHITE = (255, 255, 255)
A_FILE = "a regular file that can be read"


def modality_of(path: str | PurePath) -> str | None:
    """The modality that a file's name promises, by its suffix in any case; None for all other files.

    Hidden files have none: `._photo.jpg` beside `photo.jpg` holds what macOS knows of a picture, not one.
    """
    path = PurePath(path)
    return None if path.name.startswith(".") else _MODALITY_OF_SUFFIX.get(path.suffix.lower())


@dataclass(frozen=True, eq=False)
class Source:
    """One piece of undecoded media: a file (`path`) or the bytes of one (`data`).

    modality: what it is to be decoded as; a video file may also be a source of "audio", its sound track
    name:     what errors call it; the path by default
    within:   when given, `path` must lie in this folder once links are resolved. Readers of lists that others
              wrote set it, so that a line saying "../../secret" is refused
    limits:   what decoding it may cost unless `decode` is told otherwise; a server sets its own

    A symbolic link is followed when it leads to a regular file (model caches and split folders are made of
    links); folders, pipes, sockets and devices are refused without being opened. Nothing is kept open or
    cached: a Source can be read often, pickled and sent to a loader worker. Two are equal when modality and
    content are, so comparing or hashing one reads its file.
    """

    modality: str
    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)
    name: str = ""
    within: Path | None = None
    limits: Limits = field(default=LIMITS, repr=False)

    def __post_init__(self) -> None:
        if self.modality not in SUFFIXES:
            raise ValueError(
                f"modality of a Source: got {self.modality!r}; expected one of {', '.join(SUFFIXES)}"
            )
        if (self.path is None) == (self.data is None):
            raise ValueError("a Source needs either path= or data=, got both or neither")
        if self.data is not None and not isinstance(self.data, bytes):
            raise ValueError(f"data of a Source: got {type(self.data).__name__}; expected bytes")
        if self.path is not None:
            object.__setattr__(self, "path", Path(self.path))
        object.__setattr__(self, "name", self.name or str(self.path or f"{self.modality} bytes"))

    def open(self, limits: Limits = LIMITS) -> Stream:
        """The content as a binary stream, after the checks on what kind of file it is and on its size."""
        name, most = self._byte_limit(limits)
        stream, size = self._open()
        if 0 < size <= most:
            return stream
        stream.close()
        if size == 0:
            raise MediaError(self.name, "an empty file (0 bytes)", "a file with content")
        raise MediaError(
            self.name, f"{size:,} bytes", f"at most {most:,} (raise it with Limits({name}={size}))"
        )

    def _byte_limit(self, limits: Limits) -> tuple[str, int]:
        return ("text_bytes", limits.text_bytes) if self.modality == "text" else ("bytes", limits.bytes)

    def _open(self) -> tuple[Stream, int]:
        if self.data is not None:
            return io.BytesIO(self.data), len(self.data)
        assert self.path is not None
        try:
            if self.within is not None and not self.path.resolve().is_relative_to(
                Path(self.within).resolve()
            ):
                raise MediaError(self.name, "a path that leads out of its folder", f"files in {self.within}")
            # Looked at before it is opened (opening a pipe blocks, opening a device may act), and again
            # afterwards, because the name may have been given to something else in between.
            self._must_be_regular(os.stat(self.path))
            handle = os.open(
                self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            )
            stream = os.fdopen(handle, "rb")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            if isinstance(error, MediaError):
                raise
            reason = getattr(error, "strerror", None) or str(error)
            raise MediaError(self.name, f"a path that cannot be opened ({reason})", A_FILE) from error
        try:
            found = os.fstat(stream.fileno())
            self._must_be_regular(found)
        except BaseException:
            stream.close()
            raise
        return stream, found.st_size

    def _must_be_regular(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
            raise MediaError(self.name, kinds.get(stat.S_IFMT(found.st_mode), "a device"), A_FILE)

    def read(self, limits: Limits = LIMITS) -> bytes:
        """The content, at most `limits.bytes` of it."""
        with self.open(limits) as stream:
            _, most = self._byte_limit(limits)
            try:
                data = stream.read(most + 1)
            except OSError as error:
                raise MediaError(self.name, f"a file that breaks off ({error.strerror})", A_FILE) from error
        if len(data) > most:
            raise MediaError(self.name, "a file that grows while it is read", f"at most {most:,} bytes")
        return data

    def key(self) -> str:
        """sha256 of the content in hexadecimal, streamed: however large the file, memory stays small."""
        stream, _ = self._open()
        with stream:
            try:
                return hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise MediaError(self.name, f"a file that breaks off ({error.strerror})", A_FILE) from error

    def decode(
        self,
        limits: Limits | None = None,
        ground: tuple[int, int, int] = WHITE,
        rate: int = 16_000,
        speed: float = 1.0,
        frames: int = 8,
        fps: float | None = None,
        short_side: int | None = None,
    ) -> Media:
        """The media. `ground` is for pictures, `rate` and `speed` for sound, `frames` or `fps` for video,
        `short_side` (a number of pixels to scale larger ones down to) for both kinds of picture.

        Raises `MediaError` for whatever cannot be decoded or exceeds the limits (its own, unless given).
        """
        limits = self.limits if limits is None else limits
        # Imported here so that listing and hashing files needs neither Pillow nor the codecs.
        if self.modality == "image":
            from sensorium.media.image import decode as decode_image

            return decode_image(self, limits=limits, ground=ground, short_side=short_side)
        if self.modality == "audio":
            from sensorium.media.audio import decode as decode_audio

            return decode_audio(self, limits=limits, rate=rate, speed=speed)
        if self.modality == "video":
            from sensorium.media.video import decode as decode_video

            return decode_video(self, limits=limits, frames=frames, fps=fps, short_side=short_side)
        from sensorium.media.text import decode as decode_text

        return decode_text(self, limits=limits)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Source):
            return NotImplemented
        return self.modality == other.modality and self.key() == other.key()

    def __hash__(self) -> int:
        return hash((self.modality, self.key()))


def as_source(modality: str, media: Source | bytes | str | os.PathLike) -> Source:
    """What a decoder was given, as a Source: bytes are content, a string or path names a file."""
    if isinstance(media, Source):
        return media
    if isinstance(media, bytes | bytearray | memoryview):
        return Source(modality, data=bytes(media))
    return Source(modality, path=Path(media))


def content_key(media: Media | Source) -> str:
    """sha256 in hexadecimal of what a model would see: equal content, equal key, wherever it lies.

    A Source's is that of its bytes, a text's that of its UTF-8 (so a text and its file agree); arrays are
    hashed with type and shape, sound with its rate, video with its times.
    """
    if isinstance(media, Source):
        return media.key()
    if isinstance(media, str):
        return hashlib.sha256(media.encode("utf-8", "surrogatepass")).hexdigest()
    digest = hashlib.sha256()
    if isinstance(media, Audio):
        digest.update(f"audio at {media.rate} ".encode())
        arrays = [media.samples]
    elif isinstance(media, Video):
        digest.update(b"video ")
        arrays = [media.frames, media.times]
    elif isinstance(media, np.ndarray):
        arrays = [media]
    else:
        raise TypeError(
            f"content_key: got {type(media).__name__}; expected Source, str, array, Audio or Video"
        )
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
