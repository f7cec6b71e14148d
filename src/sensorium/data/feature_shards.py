"""How the feature cache lies on disk: shards of features that are written once, whole, and never changed.

    <cache>/<space>/space.json                 what all features here have in common, in plain words
    <cache>/<space>/<shard>/shard.json         counts and file sizes, written last
                            keys               32 bytes an item, sha256 of its content
                            pooled             dtype[N, D]
                            tokens, ends       dtype[sum of T, D] and int64[N]: where each item's tokens end
    <cache>/<space>/writing-…                  a shard that somebody is still writing; nobody reads it

A shard appears under its name by one atomic rename after everything in it has reached the disk. Each writer
has shards of its own, so that writers need no lock. A shard is removed only after another one that holds all
of it has appeared, so that whoever lists the folder finds every feature; readers keep the files they opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

KEY = np.dtype("S32")  # a sha256; comparing two ignores only zeros that both lengths pad
WRITING = "writing-"
STALE_SECONDS = 24 * 3600  # a writing- folder untouched for so long was left by a crash
SMALL_BYTES = 256 * 2**20  # shards below this are merged
FEW = 8  # that many small shards are left alone
MERGE_ROWS = 4096


class Shard:
    """One finished shard, its arrays memory-mapped read-only."""

    def __init__(self, folder: Path, width: int, dtype: np.dtype, ragged: bool) -> None:
        """Raises FileNotFoundError when it has just been merged into another one, ValueError when damaged."""
        self.folder = folder
        try:
            about = json.loads((folder / "shard.json").read_text())
            found = {name: (folder / name).stat().st_size for name in about["files"]}
            if found != about["files"]:
                raise ValueError(f"got files of {found} bytes; expected {about['files']}")
        except (ValueError, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) and not folder.exists():
                raise
            raise ValueError(
                f"{folder} is damaged ({error}): delete it, and what it held is computed again"
            ) from error
        self.bytes = sum(found.values())
        N, total = about["items"], about["tokens"]
        self.keys = np.fromfile(folder / "keys", dtype=KEY)
        self.pooled = np.memmap(folder / "pooled", dtype, "r", shape=(N, width))
        if ragged:
            # A file of no bytes cannot be mapped.
            self.tokens = (
                np.memmap(folder / "tokens", dtype, "r", shape=(total, width)) if total else self.pooled[:0]
            )
            self.ends = np.fromfile(folder / "ends", dtype=np.int64)

    def __len__(self) -> int:
        return len(self.keys)

    def sequence(self, row: int) -> np.ndarray:
        """dtype[T, D], the tokens of one item."""
        return self.tokens[self.ends[row - 1] if row else 0 : self.ends[row]]


class ShardWriter:
    """Writes one shard in a folder that nobody reads, and publishes it when all of it is on the disk."""

    def __init__(self, space: Path, dtype: np.dtype, ragged: bool) -> None:
        self.space, self.dtype = space, dtype
        self.folder = space / f"{WRITING}{os.getpid()}-{uuid.uuid4().hex}"
        self.folder.mkdir(parents=True)
        names = ["keys", "pooled", "tokens", "ends"] if ragged else ["keys", "pooled"]
        self.files: dict[str, BinaryIO] = {name: (self.folder / name).open("wb") for name in names}
        self.items = self.tokens = 0

    def append(
        self, keys: np.ndarray, pooled: np.ndarray, sequences: Iterable[np.ndarray] | None = None
    ) -> None:
        """keys: S32[N]; pooled: [N, D]; sequences: N arrays [T_i, D] when the space keeps tokens."""
        assert keys.dtype == KEY, keys.dtype
        assert len(keys) == len(pooled), (len(keys), len(pooled))
        self.files["keys"].write(keys.tobytes())
        self.files["pooled"].write(np.ascontiguousarray(pooled, self.dtype).tobytes())
        if sequences is not None:
            ends = []
            for sequence in sequences:
                self.files["tokens"].write(np.ascontiguousarray(sequence, self.dtype).tobytes())
                self.tokens += len(sequence)
                ends.append(self.tokens)
            assert len(ends) == len(keys)
            self.files["ends"].write(np.array(ends, np.int64).tobytes())
        self.items += len(keys)

    @property
    def bytes(self) -> int:
        return sum(file.tell() for file in self.files.values())

    def publish(self) -> str:
        """Make the shard visible to readers, all of it at once; returns its name."""
        sizes = {}
        for name, file in self.files.items():
            sizes[name] = file.tell()
            _close_on_disk(file)
        with open(self.folder / "shard.json", "wb") as file:
            file.write(json.dumps({"items": self.items, "tokens": self.tokens, "files": sizes}).encode())
            _close_on_disk(file)
        _sync_folder(self.folder)
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"  # sorts by age
        os.rename(self.folder, self.space / name)
        _sync_folder(self.space)
        return name

    def abandon(self) -> None:
        for file in self.files.values():
            file.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Space:
    """All features that are interchangeable: one encoder, preparation, kind and type.

    about: what decides the numbers, as JSON values; its hash names the folder: another value, another space
    """

    def __init__(self, cache: Path, about: Mapping[str, Any]) -> None:
        self.about = dict(about)
        text = json.dumps(self.about, indent=1, sort_keys=True, ensure_ascii=False)
        self.folder = cache / hashlib.sha256(text.encode()).hexdigest()[:32]
        self.width, self.dtype = int(about["width"]), np.dtype(about["dtype"])
        self.ragged = about["what"] == "tokens"
        self.shards: dict[str, Shard] = {}
        self._index: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        self._describe(text)
        self._sweep()

    def _describe(self, text: str) -> None:
        file = self.folder / "space.json"
        if not file.exists():
            draft = self.folder / f"{WRITING}{uuid.uuid4().hex}.json"
            draft.write_text(text, encoding="utf-8")
            os.replace(draft, file)
        elif file.read_text(encoding="utf-8") != text:
            raise ValueError(
                f"{file} does not describe this folder: delete {self.folder} to compute it again"
            )

    def _sweep(self) -> None:
        """Remove what crashed writers left behind."""
        for left in self.folder.glob(f"{WRITING}*"):
            try:
                if time.time() - max(p.stat().st_mtime for p in [left, *left.glob("*")]) > STALE_SECONDS:
                    shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
            except FileNotFoundError:  # its writer has just published or removed it
                continue

    def refresh(self) -> None:
        """Take in the shards that other processes have published, let go of those they have merged."""
        names = self._listed()
        while names != list(self.shards):
            try:
                self.shards = {name: self.shards.get(name) or self._open(name) for name in names}
                self._index = None
            except FileNotFoundError:  # merged between listing and opening
                pass
            # A listing is no snapshot: one may miss both a merged shard and what it replaced. So list again.
            names = self._listed()

    def _listed(self) -> list[str]:
        with os.scandir(self.folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(WRITING))

    def _open(self, name: str) -> Shard:
        return Shard(self.folder / name, self.width, self.dtype, self.ragged)

    def locate(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """S32[N] -> (which of `shards` int64[N], -1 where the key is unknown; row in it int64[N])."""
        if self._index is None:
            shards = list(self.shards.values())
            known = np.concatenate([np.empty(0, KEY), *(shard.keys for shard in shards)])
            order = np.argsort(known, kind="stable")  # of equal keys the oldest shard's comes first
            of = np.repeat(np.arange(len(shards)), [len(shard) for shard in shards]).astype(np.int64)
            row = np.concatenate([np.empty(0, np.int64), *(np.arange(len(shard)) for shard in shards)])
            self._index = known[order], of[order], row[order]
        known, of, row = self._index
        if not len(known):
            return np.full(len(keys), -1), np.zeros(len(keys), np.int64)
        place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        return np.where(known[place] == keys, of[place], -1), row[place]

    def tidy(self, written: Sequence[str] = ()) -> None:
        """Merge the small shards when there are many, or when one call wrote several."""
        self.refresh()
        small = [name for name, shard in self.shards.items() if shard.bytes < SMALL_BYTES]
        if len(small) < 2 or (len(small) <= FEW and len(written) < 2):
            return
        writer = ShardWriter(self.folder, self.dtype, self.ragged)
        seen = np.empty(0, KEY)
        try:
            for name in small:
                shard = self.shards[name]
                fresh = np.flatnonzero(~np.isin(shard.keys, seen))
                for start in range(0, len(fresh), MERGE_ROWS):
                    rows = fresh[start : start + MERGE_ROWS]
                    sequences = (shard.sequence(row) for row in rows) if self.ragged else None
                    writer.append(shard.keys[rows], shard.pooled[rows], sequences)
                seen = np.concatenate([seen, shard.keys[fresh]])
            writer.publish()
        except BaseException:
            writer.abandon()
            raise
        for name in small:
            remove(self.folder / name)
        self.refresh()


def remove(folder: Path) -> None:
    """Delete a shard, by one rename out of sight first: a half-emptied folder must not look like one."""
    gone = folder.with_name(f"{WRITING}gone-{uuid.uuid4().hex}")
    try:
        os.rename(folder, gone)
    except FileNotFoundError:  # another process removed it
        return
    shutil.rmtree(gone, ignore_errors=True)


def _close_on_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
