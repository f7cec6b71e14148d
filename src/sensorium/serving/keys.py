"""API keys: made once, kept as hashes, compared in constant time.

Authorization: Bearer KEY ──► sha256 ──► one of the hashes, or 401
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from pathlib import Path

PREFIX = "sk-sensorium-"


def new_key() -> str:
    """A key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hashed(key: str) -> str:
    """What is kept of a key: sha256, in hexadecimal. Keys are random, so that no salt is needed."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def read_hashes(file: Path) -> frozenset[str]:
    """The hashes of a file: a line "sha256:…" a key; what follows "#" is for who reads it.

    Raises ValueError for a line that is something else (a key, say), for a file without any, and for none.
    """
    if not file.is_file():
        raise ValueError(f"{file}: no such file; make a key, and the line for one: sensorium serve --new-key")
    hashes = set()
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        if not re.fullmatch("sha256:[0-9a-f]{64}", entry):
            raise ValueError(
                f"{file}, line {number}: expected sha256: and 64 hexadecimal digits, the hash of a key. Make a key and "
                "its line: sensorium serve --new-key"
            )
        hashes.add(entry.removeprefix("sha256:"))
    if not hashes:
        raise ValueError(f"{file}: no keys in it; make one, and its line: sensorium serve --new-key")
    return frozenset(hashes)


def shown(authorization: str) -> str | None:
    """The key in an Authorization header: a bearer's token, or the password that a browser asked for (Basic)."""
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def fits(key: str, hashes: frozenset[str]) -> bool:
    """Whether it is one of the keys. All are compared, each in constant time: how long it takes tells nothing."""
    given = hashed(key)
    return sum(hmac.compare_digest(given, one) for one in hashes) > 0
