"""Bad files, their reasons, and how many are too many.

MediaError -> quarantine.jsonl
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from sensorium.media import MediaError
from sensorium.retrieval.items import Item

MINIMUM = 20  # no judgement before this many items, since the first may be the one bad file
SHOWN = 5


class TooManyBadFiles(ValueError):
    """So many files cannot be decoded that going on would hide a mistake."""


class SetAside:
    """Counts the good, lists the bad in a JSONL file (id, column, file, reason), stops above a share.

    The file holds the bad items of the last `add`: one that was repaired since is no longer listed.
    """

    def __init__(self, path: Path, limit_share: float) -> None:
        if not 0 <= limit_share <= 1:
            raise ValueError(f"limit_share: got {limit_share}; expected a share from 0 to 1, such as 0.05")
        self.path, self.limit_share = path, limit_share
        self.good = 0
        self.bad: list[dict[str, str]] = []

    def add(self, item: Item, error: MediaError) -> None:
        reason = f"got {error.got}; accepted: {error.accepted}"
        self.bad.append({"id": item.id, "column": item.column, "file": error.file, "reason": reason})
        if self.good + len(self.bad) >= MINIMUM:
            self.check()

    def check(self) -> None:
        """Judge what was seen so far, and write the list when it is too much."""
        seen = self.good + len(self.bad)
        if len(self.bad) <= self.limit_share * seen:
            return
        self.write()
        share = len(self.bad) / seen
        listed = "\n".join(f"  {entry['file']}: {entry['reason']}" for entry in self.bad[:SHOWN])
        raise TooManyBadFiles(
            f"{len(self.bad)} of {seen} items cannot be decoded ({share:.1%}, limit {self.limit_share:.1%}). "
            f"The first:\n{listed}\nAll are listed in {self.path}. What was added stays. Repair them, "
            f"remove them, or allow more with add(…, limit_share={min(1, 1.2 * share):.2f})"
        )

    def write(self) -> None:
        if not self.bad:
            self.path.unlink(missing_ok=True)
            return
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        lines = (json.dumps(entry, ensure_ascii=False) for entry in self.bad)
        part.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace")
        part.replace(self.path)
