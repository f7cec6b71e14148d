"""Serving: what HTTP costs, how long requests take, and what computing them together gains.

A `sensorium serve` of a quickstart's folder in a process of its own, and clients in this one, each of which asks again
as soon as it has its answer. They write bytes to sockets: a client that takes longer to ask than the server to answer
(httpx does, for short texts) would measure itself. The tables:

process:  64 clients at once, so that as many wait as a batch has, against SharedSpace.embed and Assistant.answers on
          the same inputs, in batches as large as the server's, in another process on the same core. Vectors and
          answers of both sides are compared, too

together: the same requests to a server that computes what waits as a batch, and to one with --batch 1 --wait 0

latency:  how long requests took, streams also until their first word, and /healthz, asked every 50 ms meanwhile;
          beside embeddings and answers also searches of the index

Both sides of the first two take turns. Printed are medians, and medians of the ratios of the pairs, by the clock and in
the processor time of the server (or of the process in its place); clients are not counted. Inputs are made up and no
two are alike, so that nothing is remembered.

Example: python benchmarks/serving_http.py runs/quickstart --cores 0 1
"""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import psutil
import tyro
from PIL import Image
from tyro.conf import Positional

from turns import Side, serve

Table = Literal["process", "latency", "together"]
Kind = Literal["text", "texts", "picture", "pictures", "chat", "search"]
BATCH = 32  # the server's default
CLIENTS = 2 * BATCH  # at once in the first two tables
QUESTION = "Describe the picture."
# A kind of request: what it is, how many things it has, how many requests make a turn, where it is sent
KINDS = {
    "text": ("embed some words", 1, 1024, "/v1/embeddings"),
    "texts": ("embed 64 times some words", 64, 24, "/v1/embeddings"),
    "picture": ("embed a picture", 1, 256, "/v1/embeddings"),
    "pictures": ("embed 8 pictures", 8, 32, "/v1/embeddings"),
    "chat": ("answer about a picture", 1, 128, "/v1/chat/completions"),
    "search": ("search by words", 1, 512, "/v1/search"),
}
WORDS = ("text", "texts")  # kinds

# ---- what is asked ---------------------------------------------------------------------------------------------------


def words(number: int) -> str:
    return f"{number % 97} {('red', 'blue', 'green', 'white')[number % 4]} boats before house {number}"


def picture(number: int) -> bytes:
    """A JPEG of 320 by 240 pixels."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
    return out.getvalue()


def request(kind: str, number: int, tokens: int, stream: bool = False) -> bytes:
    """The body of the request of a number."""
    if kind == "search":
        return json.dumps({"text": words(number)}).encode()
    things = range(number * KINDS[kind][1], (number + 1) * KINDS[kind][1])
    if kind in WORDS:
        texts = [words(thing) for thing in things]
        return json.dumps({"input": texts, "encoding_format": "base64"}).encode()
    uris = ["data:image/jpeg;base64," + base64.b64encode(picture(thing)).decode() for thing in things]
    if kind != "chat":
        return json.dumps({"input": [{"image": uri} for uri in uris], "encoding_format": "base64"}).encode()
    parts = [{"type": "image_url", "image_url": {"url": uris[0]}}, {"type": "text", "text": QUESTION}]
    asked = {"messages": [{"role": "user", "content": parts}], "max_tokens": tokens, "stream": stream}
    return json.dumps(asked).encode()


# ---- the sides -------------------------------------------------------------------------------------------------------


@dataclass
class Turn:
    """What a side did: seconds by the clock and of processor time; vectors, or answers; tokens of these."""

    clock: float
    cpu: float
    answers: list[Any]
    tokens: int = 0


def in_process(checkpoint: Path, kind: str, tokens: int) -> None:
    """The side without HTTP: says on standard output what each turn did."""
    from sensorium.facade import load
    from sensorium.media import Source

    model: Any = load(checkpoint / "answers" if kind == "chat" else checkpoint)
    things, rounds = KINDS[kind][1] * KINDS[kind][2], itertools.count()

    def turn() -> dict[str, Any]:
        first = next(rounds) * things
        numbers = range(first, first + things)
        given: list[Any] = [words(n) if kind in WORDS else Source("image", data=picture(n)) for n in numbers]
        words_too = {"type": "text", "text": QUESTION}
        parts = [[{"type": "image", "image": one}, words_too] for one in given]
        started, worked = time.perf_counter(), time.process_time()
        if kind == "chat":
            talks = [[{"role": "user", "content": content}] for content in parts]
            answers = model.answers(talks, batch_size=BATCH, max_tokens=tokens)
        else:
            modality, size = "text" if kind in WORDS else "image", max(BATCH, KINDS[kind][1])
            parts_of = [given[start : start + size] for start in range(0, things, size)]
            answers = [
                vector for some in parts_of for vector in model.embed(modality, some, batch_size=BATCH)
            ]
        clock, cpu = time.perf_counter() - started, time.process_time() - worked
        return {"clock": clock, "cpu": cpu, "answers": [x if kind == "chat" else x.tolist() for x in answers]}

    serve(turn)


def told(side: Side, round_: int) -> Turn:
    return Turn(**side.turn())


class Server:
    """A `sensorium serve` in a process of its own. tokens: most of an answer"""

    def __init__(self, checkpoint: Path, tokens: int, *arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("sensorium")), "serve", str(checkpoint)]
        command += ["--port", "0", "--no-page", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(command)}: ended early; run it to see why")
        self.address, self.tokens, self.seen = line.split()[2], tokens, psutil.Process(self.process.pid)

    def turn(self, kind: str, round_: int) -> Turn:
        numbers = range(round_ * KINDS[kind][2], (round_ + 1) * KINDS[kind][2])
        bodies = [request(kind, n, self.tokens) for n in numbers]
        before = sum(self.seen.cpu_times()[:2])
        met = asyncio.run(clients(self.address, kind, bodies, CLIENTS))
        turn = Turn(met.clock, sum(self.seen.cpu_times()[:2]) - before, [])
        for _, answer in sorted(met.answers.items()):
            told = json.loads(answer)
            if kind == "chat":
                turn.answers.append(told["choices"][0]["message"]["content"])
                turn.tokens += told["usage"]["completion_tokens"]
            else:
                rows = [base64.b64decode(row["embedding"]) for row in told["data"]]
                turn.answers += [np.frombuffer(row, "<f4") for row in rows]
        return turn

    def stop(self) -> None:
        self.process.terminate()
        if status := self.process.wait(60):
            sys.exit(f"the server ended with status {status}")


@dataclass
class Met:
    """What clients met with: seconds of each request until its first word and its end, of /healthz, and in all."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    answers: dict[int, bytes] = field(default_factory=dict)
    clock: float = 0.0


class Connection:
    """HTTP/1.1 to the server, kept open. `parts` of an answer come as they are sent."""

    def __init__(self, address: str) -> None:
        self.host, _, self.port = address.removeprefix("http://").partition(":")

    async def __aenter__(self) -> Connection:
        self.reader, self.writer = await asyncio.open_connection(self.host, int(self.port), limit=2**24)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()

    async def parts(self, path: str, body: bytes | None = None) -> AsyncIterator[bytes]:
        """Of the answer to a POST of JSON; without a body to a GET."""
        lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", f"host: {self.host}:{self.port}"]
        lines += ["content-type: application/json", f"content-length: {len(body or b'')}", "", ""]
        self.writer.write("\r\n".join(lines).encode() + (body or b""))
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = re.search(r"content-length: (\d+)", head)
        if length:
            told = await self.reader.readexactly(int(length[1]))
            assert " 200 " in head, told
            yield told
            return
        while size := int(await self.reader.readline(), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readline()


async def clients(
    address: str, kind: str, bodies: Sequence[bytes], number: int, seconds: float | None = None
) -> Met:
    """So many clients ask until all is asked. seconds: until they are over, with /healthz beside"""
    met, waiting, path = Met(), iter(enumerate(bodies)), KINDS[kind][3]
    started = time.perf_counter()

    async def client() -> None:
        async with Connection(address) as server:
            for place, content in waiting:
                asked, first, parts = time.perf_counter(), 0.0, []
                async for part in server.parts(path, content):
                    parts.append(part)
                    if not first and b'"content": "' in part.replace(b'"content": ""', b""):
                        first = time.perf_counter() - asked
                met.whole.append(time.perf_counter() - asked)
                met.first += [first] if first else []
                met.answers[place] = b"".join(parts)
                if seconds is not None and time.perf_counter() - started > seconds:
                    return

    async def watch() -> None:
        async with Connection(address) as server:
            while seconds is not None:
                asked = time.perf_counter()
                async for _ in server.parts("/healthz"):
                    met.health.append(time.perf_counter() - asked)
                await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(client() for _ in range(number)))
    met.clock = time.perf_counter() - started
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return met


# ---- the tables ------------------------------------------------------------------------------------------------------


def row(*cells: object, rule: bool = False) -> None:
    print(f"| {' | '.join(map(str, cells))} |" + f"\n|{'---|' * len(cells)}" * rule, flush=True)


def paired(kind: str, left: Callable[[int], Turn], right: Callable[[int], Turn], rounds: range) -> None:
    """Prints a row: things (of answers: tokens) a second of both, and the left's time in times of the right's."""
    pairs = []
    for round_ in rounds:  # the first warms up
        turns = {side: side(round_) for side in ((left, right) if round_ % 2 else (right, left))}
        pairs.append((turns[left], turns[right]))
    both = [(x, y) for a, b in pairs for x, y in zip(a.answers, b.answers, strict=True)]
    pairs = pairs[1:]
    if kind == "chat":
        unit, same = "tokens", f"{statistics.mean(x == y for x, y in both):.0%} equal"
    else:
        unit, same = "vectors", f"cosine ≥ {min(float(np.dot(x, y)) for x, y in both):.4f}"
    counts = [a.tokens or len(a.answers) for a, _ in pairs]
    rates = [statistics.median(n / pair[side].clock for n, pair in zip(counts, pairs)) for side in (0, 1)]
    clock = statistics.median(a.clock / b.clock for a, b in pairs)
    cpu = statistics.median(a.cpu / b.cpu for a, b in pairs)
    row(KINDS[kind][0], f"{rates[0]:.1f} {unit}/s", f"{rates[1]:.1f}", f"{clock:.2f}", f"{cpu:.2f}", same)


def late(server: Server, kind: str, number: int, seconds: float, start: int) -> None:
    """Prints a row of how long requests took of so many clients. start: a number that was not asked about"""
    bodies = [request(kind, n, server.tokens, stream=True) for n in range(start, start + 2 * KINDS[kind][2])]
    met = asyncio.run(clients(server.address, kind, bodies, number, seconds))
    cells = [
        ", ".join(f"{1000 * float(np.percentile(some, share)):.0f}" for share in (50, 99)) if some else "–"
        for some in (met.whole, met.first, met.health)
    ]
    row(KINDS[kind][0], number, f"{len(met.whole) / met.clock:.1f}", *cells, len(met.whole))


def main(
    checkpoint: Positional[Path] = Path("runs/quickstart"),
    tables: tuple[Table, ...] = get_args(Table),
    kinds: tuple[Kind, ...] = get_args(Kind),
    rounds: int = 5,
    seconds: float = 6.0,
    tokens: int = 16,
    cores: tuple[int, int] | None = None,
) -> None:
    """Serving: what HTTP costs, how long requests take, and what computing them together gains.

    Args:
        checkpoint: A quickstart's folder, with its index and its answers.
        tables: Which tables to print.
        kinds: Which requests to measure.
        rounds: Pairs of turns, beside one that warms up.
        seconds: What a row of the table of latency takes.
        tokens: Most of an answer.
        cores: The core of the server and of the work in process, with one thread; and the core of the clients.
    """
    served: list[Server] = []

    def on_core(place: int) -> None:  # which is also that of the processes started then
        if cores is not None:
            os.environ["OMP_NUM_THREADS"] = "1"
            os.sched_setaffinity(0, {cores[place]})

    def server(*arguments: str) -> Server:
        on_core(0)
        served.append(Server(checkpoint, tokens, *arguments))
        on_core(1)
        return served[-1]

    ratios = ("times the time", "times the CPU time", "answers")
    computed = [kind for kind in kinds if kind != "search"]
    try:
        ours = server()
        if "process" in tables:
            row("what", "through HTTP", "in process", *ratios, rule=True)
            for kind in computed:
                on_core(0)
                side = Side([__file__, "in-process", str(checkpoint), kind, str(tokens)])
                on_core(1)
                paired(kind, partial(ours.turn, kind), partial(told, side), range(rounds + 1))
                side.close()
        if "latency" in tables:
            row(
                "what",
                "clients",
                "requests/s",
                "ms: p50, p99",
                "first word",
                "/healthz",
                "requests",
                rule=True,
            )
            asked = itertools.product([kind for kind in kinds if KINDS[kind][1] == 1], (1, 8, 32))
            for place, (asked_for, number) in enumerate(asked):
                late(ours, asked_for, number, seconds, 10**6 + place * 2000)
        if "together" in tables:
            row("what", "together", "one by one", *ratios, rule=True)
            alone = server("--batch", "1", "--wait", "0")
            for kind in computed:  # rounds that were not yet, whose pictures may be remembered
                paired(kind, partial(ours.turn, kind), partial(alone.turn, kind), range(100, 101 + rounds))
    finally:
        for one in served:
            one.stop()


if __name__ == "__main__":
    if sys.argv[1:2] == ["in-process"]:
        in_process(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        tyro.cli(main, description=__doc__)
