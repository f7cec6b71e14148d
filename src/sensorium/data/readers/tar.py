"""WebDataset tar files -> samples, streamed: members of one name before the first dot are one record.

Members are read into memory, never written to the disk; links and devices are passed over, and nothing is
unpickled.
"""

from __future__ import annotations

import glob
import gzip
import io
import itertools
import json
import os
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset

from sensorium.data.quarantine import Quarantine
from sensorium.data.ranks import rank_and_world, worker_and_workers
from sensorium.data.readers.rows import LOOKED_AT, Layout, ReaderError, columns_of
from sensorium.data.sample import Sample
from sensorium.media import LIMITS, Limits, MediaError, modality_of

GZIP = b"\x1f\x8b"


def read_tar(
    shards: str | os.PathLike | Sequence[str | os.PathLike],
    columns: Mapping[str, str] | None = None,
    *,
    meanings: Sequence[str] | None = None,
    shuffle: int = 0,
    seed: int = 0,
    rank: int | None = None,
    world: int | None = None,
    limits: Limits = LIMITS,
    quarantine: Quarantine | None = None,
) -> TarSamples:
    """The records of local .tar or .tar.gz files: one, several, a pattern ("x-{000..031}.tar", "*.tar").

    A member `0001.jpg` is the column "image" of record 0001, `0001.left.jpg` the column "left"; `.txt` is
    "text", a number in `.cls` the field "label", and what `.json` holds are fields, or columns of text under
    one of `rows.TEXT_NAMES`. Ids are "<shard>/<name>".

    columns:  modality by column; None guesses from the first records
    shuffle:  records held back to shuffle among, 0: in order. The order of shards is shuffled too; both
              follow from `seed` and `epoch` (`TarSamples.set_epoch`)
    rank:     this process and, `world`, how many there are; None: as launched. Whole shards are shared out
              among processes and their loader workers when there are enough, single records otherwise
    limits:   members above `limits.bytes` are not read
    quarantine: where these go, and shards that are damaged; None raises their `MediaError`
    """
    given = [shards] if isinstance(shards, str | os.PathLike) else list(shards)
    files = [file for one in given for file in _expanded(str(one))]
    return TarSamples(files, columns, meanings, shuffle, seed, rank, world, limits, quarantine)


class TarSamples(IterableDataset[Sample]):
    """An iterable of records; it can be iterated again, also by several loader workers."""

    def __init__(
        self,
        files: Sequence[Path],
        columns: Mapping[str, str] | None,
        meanings: Sequence[str] | None,
        shuffle: int,
        seed: int,
        rank: int | None,
        world: int | None,
        limits: Limits,
        quarantine: Quarantine | None,
    ) -> None:
        super().__init__()
        self.files, self.shuffle, self.seed, self.epoch = tuple(files), shuffle, seed, 0
        if len(set(self.files)) < len(self.files):
            raise ReaderError(f"a shard is named twice in {[str(file) for file in self.files]}")
        short = {file: file.name.split(".")[0] for file in self.files}
        unique = len(set(short.values())) == len(short)
        self._shard = short if unique else {file: str(file) for file in self.files}
        self.rank, self.world = rank, world
        self.limits, self.quarantine = limits, quarantine
        self.skipped: Counter[str] = Counter()  # endings of members that are no media, in this process
        self._modality: dict[str, str] = {}  # of the members seen, by their endings
        first = [row for _, row in itertools.islice(self._rows(self.files[0]), LOOKED_AT)]
        names = dict.fromkeys(name for row in first for name in row)
        if columns is not None and any(name in names for name in columns):
            names |= dict.fromkeys(columns)  # the others may come later
        self.columns = columns_of(first, names, columns, str(self.files[0]), self._modality)
        self._declared = columns is not None
        self._layout = Layout(self.columns, None, meanings)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Sample]:
        samples = self._share()
        return _shuffled(samples, self.shuffle, (self.seed, self.epoch)) if self.shuffle else samples

    def _share(self) -> Iterator[Sample]:
        """The records that fall to this loader worker of this process."""
        launched_rank, launched_world = rank_and_world()
        rank = launched_rank if self.rank is None else self.rank
        world = launched_world if self.world is None else self.world
        worker, workers = worker_and_workers()
        share, shares = worker * world + rank, world * workers
        files = list(self.files)
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(files)  # the same in every process
        by_file = len(files) >= shares
        mine = files[share::shares] if by_file else files
        samples = (self._sample(file, name, row) for file in mine for name, row in self._rows(file))
        return samples if by_file else itertools.islice(samples, share, None, shares)

    def _sample(self, file: Path, name: str, row: dict[str, Any]) -> Sample:
        media = [column for column, cell in row.items() if isinstance(cell, bytes)]
        if not self._declared and (new := sorted(set(media) - set(self.columns))):
            raise ReaderError(
                f"{file}, {name}: the column {new} is not among those of the first records, {self.columns}; "
                "declare all of them with columns={name: modality}"
            )
        row = {column: cell for column, cell in row.items() if column in self.columns or column not in media}
        return self._layout.sample(row, f"{self._shard[file]}/{name}", f"{file}, {name}")

    def _rows(self, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        """(name, cells) of every record: media as bytes, fields as they are."""
        row: dict[str, Any] = {}
        current = None
        try:
            for member, data in self._members(file):
                name, ending = _split(member)
                if name != current:
                    if row:
                        yield str(current), row
                    row, current = {}, name
                self._add(row, ending, data, f"{file}, {member}")
        except MediaError as error:
            if self.quarantine is None:
                raise
            # The record that it breaks off in may lack members that would have come: it is left out.
            self.quarantine.add(file.name, "shard", error)
            return
        if row:
            yield str(current), row

    def _add(self, row: dict[str, Any], ending: str, data: bytes | MediaError, where: str) -> None:
        """Put one member into its record's row."""
        column = _column(ending)
        if isinstance(data, MediaError):
            if self.quarantine is None:
                raise data
            self.quarantine.add(where, column or ending, data)
        elif column is not None:
            if column in row:
                last = ending.rpartition(".")[2]
                raise ReaderError(
                    f"{where}: the record has two members for the column {column!r}; name them, say, "
                    f"x.left.{last} and x.right.{last}"
                )
            row[column] = data
            self._modality[column] = str(modality_of(f"x.{ending}"))
        elif ending == "json":
            for name, cell in _json_object(data, where).items():
                row.setdefault(name, cell)
        else:
            row["label"] = _class(data, where)

    def _members(self, file: Path) -> Iterator[tuple[str, bytes | MediaError]]:
        """(name, content) of the members that mean something; content above the limit is a `MediaError`."""
        accepted = "a whole .tar or .tar.gz"
        try:
            with file.open("rb") as raw:
                zipped = raw.read(2) == GZIP
                raw.seek(0)
                stream = _Headed(gzip.GzipFile(fileobj=raw) if zipped else raw, self.limits.bytes)
                with tarfile.open(fileobj=stream, mode="r:") as tar:
                    while (member := tar.next()) is not None:
                        tar.members.clear()  # type: ignore[attr-defined]  # else names pile up
                        name = member.name
                        if not member.isreg() or PurePosixPath(name).name.startswith("."):
                            continue
                        _, ending = _split(name)
                        if _column(ending) is None and ending not in ("json", "cls"):
                            self.skipped[ending] += 1
                        elif member.size > self.limits.bytes:
                            got, most = f"{member.size:,} bytes", f"at most {self.limits.bytes:,}"
                            yield name, MediaError(f"{file}, {name}", got, most)
                        else:
                            content = tar.extractfile(member)
                            assert content is not None, name
                            yield name, content.read()
                    # tarfile ends quietly at a broken header; a whole archive ends in a block of zeros.
                    if stream.header.strip(b"\0"):
                        raise MediaError(file, f"an archive that is damaged at byte {tar.offset:,}", accepted)
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise MediaError(file, f"an archive that breaks off or is none ({error})", accepted) from error


def _split(member: str) -> tuple[str, str]:
    """ "a/0001.left.jpg" -> ("a/0001", "left.jpg")."""
    folder, _, base = member.rpartition("/")
    base, _, ending = base.partition(".")
    return (f"{folder}/{base}" if folder else base), ending.lower()


def _column(ending: str) -> str | None:
    """The column that a member of this ending goes into; None when it holds no media."""
    first, _, last = ending.rpartition(".")
    modality = modality_of(f"x.{last}")
    return None if modality is None else first or modality


class _Headed(io.RawIOBase):
    """A stream that keeps the last header read and refuses reads above a limit, which headers may ask for."""

    def __init__(self, stream: Any, most: int) -> None:
        self.stream, self.most, self.header = stream, most, b""

    def read(self, size: int = -1) -> bytes:
        if size > self.most + tarfile.BLOCKSIZE:
            raise OSError(f"a header that asks for {size:,} bytes")
        data = bytes(self.stream.read(size))
        if size == tarfile.BLOCKSIZE:
            self.header = data
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self.stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self.stream.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _shuffled(samples: Iterator[Sample], size: int, seed: tuple[int, int]) -> Iterator[Sample]:
    """Each one drawn from `size` that are held back."""
    draw = np.random.default_rng(seed)
    held = list(itertools.islice(samples, size))
    for sample in samples:
        place = int(draw.integers(len(held)))
        yield held[place]
        held[place] = sample
    for place in draw.permutation(len(held)).tolist():
        yield held[place]


def _expanded(pattern: str) -> list[Path]:
    """{000..031}, {a,b} and * -> the files, which must be there."""
    if "://" in pattern or pattern.startswith("pipe:"):
        raise ReaderError(f"{pattern}: readers fetch and run nothing; download the shards and name the files")
    names = [pattern]
    while braces := re.search(r"\{([^{}]*)\}", names[0]):
        span = re.fullmatch(r"(\d+)\.\.(\d+)", braces[1])
        if span:
            first, last = int(span[1]), int(span[2])
            choices = [str(number).zfill(len(span[1])) for number in range(first, last + 1)]
        else:
            choices = braces[1].split(",")
        if len(choices) < 1 or (span is None and "," not in braces[1]):
            raise ReaderError(f"{pattern}: got {braces[0]}; expected {{000..031}} or {{a,b}}")
        names = [name.replace(braces[0], choice, 1) for name in names for choice in choices]
    if any(character in pattern for character in "*?["):
        names = [file for name in names for file in sorted(glob.glob(name))]
    if not names:
        raise ReaderError(f"{pattern}: no such file")
    if absent := [name for name in names if not Path(name).is_file()]:
        raise ReaderError(
            f"{pattern}: {len(absent)} of {len(names)} shards are not there, such as {absent[0]}"
        )
    return [Path(name) for name in names]


def _json_object(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ReaderError(f"{where}: not JSON ({error})") from error
    return value if isinstance(value, dict) else {"json": value}


def _class(data: bytes, where: str) -> int:
    try:
        return int(data)
    except ValueError as error:
        raise ReaderError(f"{where}: got {data[:20]!r}; expected the number of a class") from error
