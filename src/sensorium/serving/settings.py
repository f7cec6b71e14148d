"""`Settings`: every limit of a server in one place, with its unit."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from sensorium.media import Limits

# Pixels: of eight frames of a clip in 4K, of a telephone's largest picture
MEDIA = Limits(bytes=2**25, text_bytes=2**18, pixels=70_000_000, seconds=300.0, frames=64)


@dataclass(frozen=True)
class Settings:
    """How a server behaves. What exceeds a limit is refused with a message that names it.

    host, port:     where it listens; port 0 takes any that is free. Only this machine reaches the default
    hosts:          names that requests may call it by (their Host header); none: any. A server that listens on this
                    machine alone names them, so that no web page elsewhere can be led to it by its name
    queue:          requests that may wait for one model; one more is told to come again (429)
    batch:          rows that one model computes at once
    wait:           seconds that the first row of a batch waits for others
    seconds:        that a request may take, its waiting included; afterwards it is given up (504)
    drain:          seconds that requests in flight have to end once the server is told to stop
    max_tokens:     most tokens of one answer; default_tokens: where a request does not say
    choices:        most answers to one conversation (n)
    messages:       most messages of one conversation
    attachments:    most media of one request
    inputs:         most things of one request to embed, classify or add
    labels:         most labels of one classification
    top_k:          most hits of one search
    stops:          most strings that end an answer
    text:           most characters of one text
    body_bytes:     of one request, checked while it arrives
    held_bytes:     of all requests that are being answered, and of all additions to indexes that wait
    media:          limits of one piece of it, checked before it is decoded
    key_hashes:     sha256, in hexadecimal, of the keys that callers may show; none: no key is asked for
    origins:        web pages of other addresses that may call, such as "https://example.org"; "*" for all
    allow_urls:     fetch media from public addresses that callers name
    url_seconds:    that such a fetch may take
    page:           serve the page, too
    """

    host: str = "127.0.0.1"
    port: int = 8000
    hosts: tuple[str, ...] = ()
    queue: int = 64
    batch: int = 32
    wait: float = 0.005
    seconds: float = 120.0
    drain: float = 30.0
    max_tokens: int = 1024
    default_tokens: int = 256
    choices: int = 8
    messages: int = 256
    attachments: int = 32
    inputs: int = 512
    labels: int = 1000
    top_k: int = 200
    stops: int = 16
    text: int = 200_000
    body_bytes: int = 2**26
    held_bytes: int = 2**29
    media: Limits = MEDIA
    key_hashes: frozenset[str] = field(default=frozenset(), repr=False)
    origins: tuple[str, ...] = ()
    allow_urls: bool = False
    url_seconds: float = 10.0
    page: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: got {self.port}; expected 0 (any that is free) to 65535")
        counts = ("queue", "batch", "max_tokens", "default_tokens", "choices", "messages", "attachments")
        for name in (*counts, "inputs", "labels", "top_k", "stops", "text", "body_bytes", "held_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}; expected at least 1")
        for name in ("wait", "seconds", "drain", "url_seconds"):
            value = getattr(self, name)
            if not (math.isfinite(value) and (value > 0 or (name in ("wait", "drain") and value == 0))):
                raise ValueError(f"{name}: got {value}; expected a number of seconds")
        for digest in self.key_hashes:
            if not re.fullmatch("[0-9a-f]{64}", digest):
                raise ValueError("key_hashes: got one that is no sha256; expected 64 hexadecimal digits each")
        for origin in self.origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s*]+", origin):
                raise ValueError(
                    f"origins: got {origin!r}; expected scheme and host without a path, such as https://example.org"
                )
