"""Serving: requests that come at the same time computed together, against one by one.

    python benchmarks/serving_batching.py text image search chat [--clients 1 8 32] [--rounds 5] [--seconds 4]
        [--tokens 24] [--assistant weights/smol_llava] [--threads 1]

In one process, without HTTP: so many clients, each asking again as soon as it has its answer, for so many seconds.
Both sides are the same model behind the same queue; one takes what waits as a batch (`Settings()`), the other a
request at a time (`Settings(batch=1, wait=0)`). They take turns. Printed are the medians of things a second, the median
and the 99th percentile of the seconds that a request took, and the median of the ratios of the pairs, by the clock and
in processor time.

text, image: one short text or one picture to embed, in the encoders of `image_text_audio`
search:      one text to look for among 2,000 random vectors
chat:        one answer of so many tokens at most, streamed; counted are tokens, timed the first of them
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from sensorium import speed

speed.apply()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from sensorium.facade import SharedSpace, load_assistant  # noqa: E402
from sensorium.media import Source  # noqa: E402
from sensorium.retrieval.index import Index  # noqa: E402
from sensorium.serving.assistant import ServedAssistant, Written  # noqa: E402
from sensorium.serving.indexes import NewRow, ServedIndex  # noqa: E402
from sensorium.serving.settings import Settings  # noqa: E402
from sensorium.serving.space import ServedSpace  # noqa: E402
from sensorium.systems.image_text_audio import image_text_audio  # noqa: E402

TOGETHER, ALONE = Settings(), Settings(batch=1, wait=0.0)
TEXTS = (
    "a {} fish in the sea",
    "{} boat",
    "an old house with {} windows, seen from the street",
    "two {} birds",
)
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "grey")
ROWS = 2000

# A request, by its number: yields when there is something, and how many things that were
Ask = Callable[[int], AsyncIterator[int]]


def texts() -> list[str]:
    return [text.format(colour) for text in TEXTS for colour in COLOURS]


def pictures() -> list[Source]:
    """JPEGs of 320 by 240 pixels, all different."""
    random = np.random.default_rng(0)
    files = []
    for _ in range(32):
        coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
        files.append(Source("image", data=out.getvalue()))
    return files


def embedding(modality: str, space: SharedSpace, settings: Settings) -> Ask:
    served = ServedSpace("space", space, settings)
    items: list[Any] = texts() if modality == "text" else pictures()

    async def ask(number: int) -> AsyncIterator[int]:
        await served.embed(modality, [items[number % len(items)]])
        yield 1

    return ask


def searching(folder: Path, space: SharedSpace, settings: Settings) -> Ask:
    served = ServedIndex.open("index", folder, ServedSpace("space", space, settings), settings)
    asked = texts()

    async def ask(number: int) -> AsyncIterator[int]:
        assert len(await served.search(text=asked[number % len(asked)], top_k=10)) == 10
        yield 1

    return ask


def chatting(assistant: Any, tokens: int, settings: Settings) -> Ask:
    served = ServedAssistant("assistant", assistant, settings)
    asked = texts()

    async def ask(number: int) -> AsyncIterator[int]:
        messages = [{"role": "user", "content": f"Tell a story of {asked[number % len(asked)]}."}]
        async for piece in served.stream(messages, max_tokens=tokens):
            yield piece.completion_tokens if isinstance(piece, Written) else 0

    return ask


async def turn(ask: Ask, clients: int, seconds: float) -> dict[str, float]:
    """Things a second, by the clock and by processor time; how long requests took until their first piece."""
    took: list[float] = []
    things = 0
    number = iter(range(10**9))
    started, worked = time.perf_counter(), time.process_time()

    async def client() -> None:
        nonlocal things
        while time.perf_counter() - started < seconds:
            asked, first = time.perf_counter(), None
            async for got in ask(next(number)):
                first = first or time.perf_counter()
                things += got
            took.append((first or time.perf_counter()) - asked)

    await asyncio.gather(*(client() for _ in range(clients)))
    clock, cpu = time.perf_counter() - started, time.process_time() - worked
    return {
        "rate": things / clock,
        "per cpu": things / cpu,
        "p50": float(np.percentile(took, 50)),
        "p99": float(np.percentile(took, 99)),
    }


def measured(name: str, sides: tuple[Ask, Ask], clients: int, rounds: int, seconds: float) -> None:
    """Prints a row of the table."""
    for ask in sides:
        asyncio.run(turn(ask, clients, 0.2))
    rows: tuple[list[dict[str, float]], ...] = ([], [])
    for round_ in range(rounds):
        for place in (0, 1) if round_ % 2 == 0 else (1, 0):
            rows[place].append(asyncio.run(turn(sides[place], clients, seconds)))
    middle = [{key: statistics.median(row[key] for row in side) for key in side[0]} for side in rows]
    ratio, cpu = (
        statistics.median(a[key] / b[key] for a, b in zip(*rows, strict=True)) for key in ("rate", "per cpu")
    )
    cells = [f"{one['rate']:.1f} | {one['p50']:.3f} | {one['p99']:.3f}" for one in middle]
    print(f"| {name} | {clients} | {' | '.join(cells)} | {ratio:.2f} | {cpu:.2f} | {rounds} |", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("what", nargs="+", choices=("text", "image", "search", "chat"))
    options.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=4.0)
    options.add_argument("--tokens", type=int, default=24)
    options.add_argument("--assistant", default="weights/smol_llava")
    options.add_argument("--threads", type=int, default=0)
    given = options.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    print(
        "| what | clients | together /s | p50 s | p99 s | one by one /s | p50 s | p99 s | ratio | CPU | rounds |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    space = SharedSpace(image_text_audio()) if set(given.what) != {"chat"} else None
    with tempfile.TemporaryDirectory() as folder:
        for what in given.what:
            sides: tuple[Ask, Ask]
            if what == "chat":
                assistant = load_assistant(given.assistant)
                sides = (
                    chatting(assistant, given.tokens, TOGETHER),
                    chatting(assistant, given.tokens, ALONE),
                )
            elif what == "search":
                assert space is not None
                made(Path(folder), space)
                sides = (searching(Path(folder), space, TOGETHER), searching(Path(folder), space, ALONE))
            else:
                assert space is not None
                sides = (embedding(what, space, TOGETHER), embedding(what, space, ALONE))
            for clients in given.clients:
                measured(what, sides, clients, given.rounds, given.seconds)


class Random:
    """In the place of a space's encoders, while its index is filled: random unit vectors."""

    def __init__(self, space: SharedSpace) -> None:
        self.modalities, self.width, self.source = space.modalities, space.width, space.source
        self.identity = space.identity
        self.random = np.random.default_rng(0)

    def embed(self, modality: str, media: list[Any], progress: bool = False) -> np.ndarray:
        vectors = self.random.normal(size=(len(media), self.width)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def made(folder: Path, space: SharedSpace) -> None:
    """An index of so many rows."""
    index = Index.create(folder, Random(space))
    index.add([NewRow("text", f"text {n}").sample() for n in range(ROWS)], columns=["media"], progress=False)


if __name__ == "__main__":
    main()
