"""`sensorium serve`: checkpoints and indexes over HTTP, and a page.

As in `commands.py`: only this file and the standard library are imported until the command runs.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, UseAppendAction, arg

if TYPE_CHECKING:
    from sensorium.serving.served import Served
    from sensorium.serving.settings import Settings

QUICKSTART = Path("runs/quickstart")


def serve(
    checkpoints: Annotated[Positional[tuple[str, ...]], arg(metavar="CHECKPOINT")] = (),
    index: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="FOLDER")] = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    page: bool = True,
    api_key_file: Path | None = None,
    new_key: bool = False,
    cors_origin: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="ORIGIN")] = (),
    allow_host: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME")] = (),
    allow_urls: bool = False,
    queue: int = 64,
    batch: int = 32,
    wait: float = 0.005,
    seconds: float = 120.0,
    drain: float = 30.0,
    max_tokens: int = 1024,
    body: int = 64,
    verbose: bool = False,
) -> None:
    """Serve checkpoints and indexes: OpenAI's wire format for their clients, and a page for people.

    Chat (text, pictures, sounds, clips), embeddings, transcriptions, classification and search under /v1; a page to
    search, ask and compare at /; every route with an example at /docs; numbers for Prometheus at /metrics. Only this
    machine can reach it unless --host says otherwise. Ctrl-C or SIGTERM ends it once all that it accepted is answered.

    Example: sensorium serve runs/quickstart cats=runs/cats --index my-index

    Args:
        checkpoints: Folders of checkpoints or runs, or NAME=FOLDER; runs/quickstart when neither these nor --index are
            given. A quickstart brings its index and its answers along.
        index: An index of sensorium index, or NAME=FOLDER. Again for more.
        host: Address to listen at; 0.0.0.0 for every network (then set --api-key-file).
        port: Port; 0 for any that is free.
        page: Serve the page.
        api_key_file: Ask for keys, whose hashes are the lines of this file (see --new-key).
        new_key: Only print a new key, and its line for --api-key-file.
        cors_origin: A web page that may call from a browser, such as https://example.org. Again for more.
        allow_host: A name by which this machine may be called, where a proxy passes one on. Again for more.
        allow_urls: Fetch media from public addresses that requests name.
        queue: Requests that may wait for a model; further ones are told to come again.
        batch: Rows that a model computes at once.
        wait: Seconds that the first row of a batch waits for others.
        seconds: Most seconds of a request, its waiting included.
        drain: Seconds that requests in flight have to end when the server is stopped.
        max_tokens: Most tokens of an answer.
        body: Most megabytes of a request.
        verbose: A line for each request.
    """
    if new_key:
        _print_key()
        return
    try:
        from sensorium.serving.settings import Settings
    except ImportError as error:
        raise ValueError(
            f"serving needs packages that are not here ({error}): pip install 'sensorium[serve]'"
        ) from error
    settings = Settings(
        host=host,
        port=port,
        hosts=_hosts(host, allow_host),
        queue=queue,
        batch=batch,
        wait=wait,
        seconds=seconds,
        drain=drain,
        max_tokens=max_tokens,
        default_tokens=min(256, max_tokens),
        body_bytes=body * 2**20,
        key_hashes=_hashes(api_key_file),
        origins=cors_origin,
        allow_urls=allow_urls,
        page=page,
    )
    if not checkpoints and not index:
        if not QUICKSTART.exists():
            raise ValueError(
                "serve: expected a checkpoint or an index, such as: sensorium serve runs/my-run. To make one in some "
                f"minutes, in {QUICKSTART}: sensorium quickstart"
            )
        checkpoints = (str(QUICKSTART),)
    _served(checkpoints, index, settings, verbose)


def _served(
    checkpoints: tuple[str, ...], indexes: tuple[str, ...], settings: Settings, verbose: bool
) -> None:
    from sensorium import speed

    speed.apply()  # before there are threads: the allocator decides with the first of them how many heaps there are
    try:
        from sensorium.serving.run import address, bound
        from sensorium.serving.run import serve as run
    except ImportError as error:
        raise ValueError(
            f"serving needs packages that are not here ({error}): pip install 'sensorium[serve]'"
        ) from error
    from sensorium.serving.served import Served

    with bound(settings) as listening:
        served = Served.open(checkpoints, indexes, settings)
        drained = run(
            served,
            settings,
            listening,
            ready=lambda: print(told(served, settings, address(listening, settings)), flush=True),
            log_level="info" if verbose else "warning",
        )
    print(
        "stopped; all that was accepted is answered" if drained else "stopped before all was answered",
        file=sys.stderr,
    )


def told(served: Served, settings: Settings, address: str) -> str:
    """What is served, where, and a line to try."""
    lines = [f"Serving at {address}" + (" (open it in a browser)" if settings.page else "")]
    for model in served.models.values():
        lines.append(f"  model {model.name}: {model.task}, of {', '.join(model.modalities)}")
    for index in served.indexes.values():
        lines.append(f"  index {index.name}: {len(index.index):,} rows, by {index.space.name}")
    key = " -H 'Authorization: Bearer YOUR-KEY'" if settings.key_hashes else ""
    lines += ["Try:", f"  curl {address}{_example(served)}{key}"]
    lines.append(
        f"OpenAI's clients: base_url={address}/v1. All routes with examples: {address}/docs. Stop: Ctrl-C"
    )
    if not settings.key_hashes and not _is_local(settings.host):
        lines.append(
            "Whoever reaches this address may use it: ask for keys with --api-key-file (see --new-key)"
        )
    return "\n".join(lines)


def _example(served: Served) -> str:
    body: dict[str, Any]
    tasks = {model.task: model for model in served.models.values()}
    if served.indexes:
        path, body = "/v1/search", {"text": "a red fish", "top_k": 3}
    elif "chat" in tasks:
        path, body = "/v1/chat/completions", {"messages": [{"role": "user", "content": "What is a fish?"}]}
    elif "embedding" in tasks:
        path, body = "/v1/embeddings", {"input": ["a red fish"], "encoding_format": "float"}
    else:
        return "/v1/models"
    return f"{path} -H 'Content-Type: application/json' -d '{json.dumps(body)}'"


def _print_key() -> None:
    from sensorium.serving.keys import hashed, new_key

    key = new_key()
    print(f"key, shown this once: {key}")
    print(f"line for the file of --api-key-file:\nsha256:{hashed(key)}")


def _hashes(file: Path | None) -> frozenset[str]:
    if file is None:
        return frozenset()
    from sensorium.serving.keys import read_hashes

    return read_hashes(file)


def _hosts(host: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Names to answer by: on this machine alone its own, and what was added; else any, unless some are named."""
    if not _is_local(host):
        return allowed
    shown = f"[{host}]" if ":" in host else host
    return tuple(dict.fromkeys(("localhost", "127.0.0.1", "[::1]", shown, *allowed)))


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
