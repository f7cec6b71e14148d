"""Serving: what a server holds after many requests of every kind, good and bad.

    python benchmarks/serving_memory.py [--requests 10000] [--clients 8]

A server of small random models (those of the tests) in a process of its own, by uvicorn as `sensorium serve` runs it;
so many clients that send texts, pictures and sounds to embed, searches with and without filters, conversations of one
token, streams that are left after their first piece, classifications, transcriptions, additions to an index and
deletions from it, media that are damaged or too large, bodies that are too large or no JSON, and addresses that lead
nowhere. Texts and pictures are all different. Printed after the first tenth and at the end: resident memory, objects
that Python counts, open files, threads, tasks; then what each thousand requests between them added.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import gc
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
sys.path += [str(TESTS / "serving"), str(TESTS / "facade"), str(TESTS)]

import httpx  # noqa: E402
import psutil  # noqa: E402

# ---- the server ------------------------------------------------------------------------------------------------------


def serve() -> None:
    """In a process of its own: says its address, and on SIGUSR1 what it holds, a line of JSON each."""
    from tiny_served import Made

    from sensorium.serving.run import address, bound
    from sensorium.serving.run import serve as run
    from sensorium.serving.settings import Settings

    settings = Settings(port=0, page=False, body_bytes=2**22, max_tokens=64, default_tokens=8)
    signal.signal(signal.SIGUSR1, lambda *_: print(json.dumps(holding()), flush=True))
    with tempfile.TemporaryDirectory() as folder, bound(settings) as listening:
        served = Made().served(Path(folder) / "squares", settings)
        run(served, settings, listening, lambda: print(address(listening, settings), flush=True), "critical")


def holding() -> dict[str, int]:
    """Objects that Python's collector counts, tasks of asyncio, threads."""
    gc.collect()
    objects = gc.get_objects()
    tasks = sum(issubclass(type(one), asyncio.Task) and not one.done() for one in objects)
    return {"objects": len(objects), "tasks": tasks, "threads": threading.active_count()}


class Server:
    """That process, and what it holds."""

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.lines, self.seen = self.process.stdout, psutil.Process(self.process.pid)
        self.address = self.lines.readline().strip()

    def holds(self) -> dict[str, float]:
        self.process.send_signal(signal.SIGUSR1)
        told: dict[str, float] = json.loads(self.lines.readline())
        found = self.seen
        return {"MB": found.memory_info().rss / 2**20, "files": found.num_fds(), **told}

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


# ---- the requests ----------------------------------------------------------------------------------------------------


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


class Requests:
    """One of every kind, by its number: (what it is, its coroutine's status)."""

    def __init__(self, address: str, client: httpx.AsyncClient) -> None:
        from tiny_served import png, wav

        self.address, self.client, self.png, self.wav = address, client, png, wav
        self.kinds = {
            "embed a text": (4, self.text), "embed a picture": (4, self.picture), "embed a sound": (1, self.sound),
            "search": (4, self.search), "search with a filter": (2, self.filtered), "chat": (3, self.chat),
            "stream": (1, self.stream), "stream that is left": (2, self.left), "classify": (2, self.classify),
            "transcribe": (1, self.transcribe), "damaged picture": (3, self.damaged), "web page": (1, self.page),
            "large body": (1, self.large), "large body without a length": (1, self.unending),
            "no JSON": (1, self.broken), "no such model": (1, self.unknown), "no such route": (1, self.nowhere),
            "add and delete": (1, self.added), "metrics": (1, self.metrics),
        }  # fmt: skip
        self.names = [name for name, (weight, _) in self.kinds.items() for _ in range(weight)]

    async def send(self, number: int) -> tuple[str, int]:
        chance = random.Random(number)
        name = chance.choice(self.names)
        return name, await self.kinds[name][1](number, chance)

    async def post(self, path: str, **given: Any) -> int:
        return (await self.client.post(self.address + path, **given)).status_code

    async def text(self, number: int, chance: random.Random) -> int:
        words = " ".join(
            chance.choice(("red", "green", "blue", str(number))) for _ in range(chance.randrange(1, 200))
        )
        return await self.post("/v1/embeddings", json={"input": [words, f"text {number}"]})

    async def picture(self, number: int, chance: random.Random) -> int:
        data = self.png((chance.randrange(256), 9, 9), number % 65536, chance.choice((6, 60, 600)))
        return await self.post("/v1/embeddings", json={"input": {"image": uri(data)}})

    async def sound(self, number: int, chance: random.Random) -> int:
        sent = {"data": base64.b64encode(self.wav(100 + number % 1000, 1.0)).decode(), "format": "wav"}
        return await self.post(
            "/v1/embeddings", json={"input": [{"type": "input_audio", "input_audio": sent}]}
        )

    async def search(self, number: int, chance: random.Random) -> int:
        return await self.post("/v1/search", json={"text": f"red {number}", "top_k": 3})

    async def filtered(self, number: int, chance: random.Random) -> int:
        return await self.post(
            "/v1/search", json={"id": "red-0", "where": f"colour != 'x{number}' AND bright = TRUE"}
        )

    def asked(self, number: int, **more: Any) -> dict[str, Any]:
        part = {"type": "image_url", "image_url": {"url": uri(self.png("red", number % 65536))}}
        words = {"type": "text", "text": f"What is number {number}?"}
        return {"messages": [{"role": "user", "content": [part, words]}], "max_tokens": 1} | more

    async def chat(self, number: int, chance: random.Random) -> int:
        return await self.post("/v1/chat/completions", json=self.asked(number))

    async def stream(self, number: int, chance: random.Random) -> int:
        return await self.post("/v1/chat/completions", json=self.asked(number, stream=True, max_tokens=3))

    async def left(self, number: int, chance: random.Random) -> int:
        asked = self.asked(number, stream=True, max_tokens=40)
        async with self.client.stream("POST", self.address + "/v1/chat/completions", json=asked) as answer:
            async for _ in answer.aiter_lines():
                break
            return answer.status_code

    async def classify(self, number: int, chance: random.Random) -> int:
        given = {
            "input": {"image": uri(self.png("blue", number % 65536))},
            "labels": ["red", f"blue {number}"],
        }
        return await self.post("/v1/classify", json=given)

    async def transcribe(self, number: int, chance: random.Random) -> int:
        files = {"file": ("a.wav", self.wav(100 + number % 1000), "audio/wav")}
        return await self.post("/v1/audio/transcriptions", files=files, data={"temperature": "0"})

    async def damaged(self, number: int, chance: random.Random) -> int:
        data = bytearray(self.png("green", number % 65536, 60))
        for _ in range(3):
            data[chance.randrange(8, len(data))] ^= 1 << chance.randrange(8)
        return await self.post("/v1/embeddings", json={"input": {"image": uri(bytes(data))}})

    async def page(self, number: int, chance: random.Random) -> int:
        return await self.post("/v1/search", json={"image": uri(b"<html>")})

    async def large(self, number: int, chance: random.Random) -> int:
        return await self.post(
            "/v1/embeddings", content=bytes(2**22 + 1), headers={"content-type": "application/json"}
        )

    async def unending(self, number: int, chance: random.Random) -> int:
        async def parts() -> Any:
            for _ in range(80):
                yield bytes(2**16)

        with contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            return await self.post("/v1/embeddings", content=parts())
        return 413  # cut off before it could read why

    async def broken(self, number: int, chance: random.Random) -> int:
        kind = {"content-type": "application/json"}
        return await self.post("/v1/chat/completions", content=b'{"messages": [' * 500, headers=kind)

    async def unknown(self, number: int, chance: random.Random) -> int:
        return await self.post("/v1/embeddings", json={"model": f"no {number}", "input": "x"})

    async def nowhere(self, number: int, chance: random.Random) -> int:
        return (await self.client.get(f"{self.address}/v1/{number}")).status_code

    async def added(self, number: int, chance: random.Random) -> int:
        row = {
            "id": f"new-{number}",
            "image": uri(self.png("grey", number % 65536, 60)),
            "fields": {"colour": "grey"},
        }
        status = await self.post("/v1/index/squares/rows", json={"rows": [row]})
        await self.client.delete(f"{self.address}/v1/index/squares/rows", params={"id": f"new-{number}"})
        return status

    async def metrics(self, number: int, chance: random.Random) -> int:
        return (await self.client.get(self.address + "/metrics")).status_code


async def sent(address: str, numbers: range, clients: int) -> Counter[tuple[str, int]]:
    """How often each kind was answered with which status."""
    counts: Counter[tuple[str, int]] = Counter()
    waiting = iter(numbers)

    async def one_by_one() -> None:
        async with httpx.AsyncClient(timeout=120) as client:
            requests = Requests(address, client)
            for number in waiting:
                counts[await requests.send(number)] += 1

    await asyncio.gather(*(one_by_one() for _ in range(clients)))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve()
        return
    server, counts, began = Server(), Counter[tuple[str, int]](), time.perf_counter()
    try:
        marks = [round(asked.requests * share / 10) for share in range(11)]
        held = [server.holds()]
        for start, end in itertools.pairwise(marks):
            counts += asyncio.run(sent(server.address, range(start, end), asked.clients))
            time.sleep(1.0)  # for connections that close
            held.append(server.holds())
            print(f"{end:>7,} requests: {_told(held[-1])}", flush=True)
    finally:
        status = server.stop()
    print(f"before the first: {_told(held[0])}")
    later = 1000 / max(1, marks[-1] - marks[1])
    print(
        "each thousand after the first tenth added: "
        + _told({k: (held[-1][k] - held[1][k]) * later for k in held[0]})
    )
    print(
        f"{time.perf_counter() - began:.0f} s; the server ended with {status}; answers, by kind and status:"
    )
    for (name, code), count in sorted(counts.items()):
        print(f"  {name:<28} {code}  {count:,}")


def _told(held: dict[str, float]) -> str:
    return ", ".join(f"{value:,.1f} {name}" for name, value in held.items())


if __name__ == "__main__":
    main()
