"""Bad media is set aside with its reason, and too much of it stops the run.

MediaError -> one line of a JSONL file; more than `limit_share` of all media -> QuarantineError
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from sensorium.media import MediaError

SHOWN = 5  # entries that the error lists; the file has all of them


class QuarantineError(ValueError):
    """So much of the data cannot be decoded that going on would hide a mistake."""


@dataclass(frozen=True)
class Entry:
    """One piece of media that was set aside: which record and column, which file, and why."""

    id: str
    column: str
    file: str
    reason: str


class Quarantine:
    """The list of media that could not be decoded, one JSON object a line: id, column, file, reason.

    path:        the file; entries of earlier runs are kept, and the same entry is never written twice
    limit_share: more than this share of the media seen is a `QuarantineError` (0 stops at the first one, 1
                 never); a single bad one is forgiven where the share allows any at all
    minimum:     while data still comes, no judgement before this many media were seen: the first may be the
                 few bad ones

    Counting is per process: a loader worker sees a random share of the data, as good a sample of it as any. A
    worker gets its copy by pickling or forking; all of them append to the one file, a line at a time.
    """

    def __init__(self, path: str | os.PathLike, limit_share: float = 0.05, minimum: int = 100) -> None:
        if not 0 <= limit_share <= 1:
            raise ValueError(f"limit_share: got {limit_share}; expected a share from 0 to 1, such as 0.05")
        self.path = Path(path)
        self.limit_share = limit_share
        self.minimum = minimum
        self.good = 0
        self.bad = 0
        self._first: list[Entry] = []  # of this run, for the error
        self._written = set(self.entries())

    def entries(self) -> list[Entry]:
        """All that the file holds, also of earlier runs and other processes; no line that a crash cut off."""
        if not self.path.exists():
            return []
        entries = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entries.append(Entry(**json.loads(line)))
            except (json.JSONDecodeError, TypeError):  # cut off in the middle
                continue
        return entries

    def passed(self, count: int = 1) -> None:
        """Count media that decoded well."""
        self.good += count

    def add(self, id: str, column: str, error: MediaError) -> None:
        """Set one piece of media aside. Raises `QuarantineError` above the limit."""
        entry = Entry(id, column, error.file, f"got {error.got}; accepted: {error.accepted}")
        self.bad += 1
        if entry not in self._first and len(self._first) < SHOWN:
            self._first.append(entry)
        if entry not in self._written:
            self._append(entry)
            self._written.add(entry)
        if self.limit_share == 0 or self.good + self.bad >= self.minimum:
            self.check()

    def check(self) -> None:
        """Judge what was seen so far, however little it is; call it where the data ends."""
        seen = self.good + self.bad
        forgiven = 1 if self.limit_share and self.good else 0
        if self.bad <= max(forgiven, self.limit_share * seen):
            return
        listed = "\n".join(f"  {e.id} [{e.column}] {e.file}: {e.reason}" for e in self._first)
        raise QuarantineError(
            f"{self.bad} of {seen} media cannot be decoded ({self.bad / seen:.1%}, "
            f"limit {self.limit_share:.1%}). The first:\n{listed}\n"
            f"All are listed in {self.path}. Repair or remove them, or allow more with "
            f"Quarantine({str(self.path)!r}, limit_share={min(1.0, 1.2 * self.bad / seen):.2f})"
        )

    def _append(self, entry: Entry) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(asdict(entry), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        # One write to a file opened for appending: lines of several processes do not mix.
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":  # a crash cut the last line off
                line = b"\n" + line
            os.write(handle, line)
        finally:
            os.close(handle)
