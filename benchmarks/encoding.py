"""What each of `sensorium.speed`'s measures gains when pictures, captions and sounds are encoded.

    python benchmarks/encoding.py [image] [text] ["long text"] [audio] [--rounds 5] [--items 128]

Each line is `Encoder.encode` with one thing taken away, against the same as it is. Both sides are processes that
hold their encoder and wait for their turn: they encode the same media in alternation, so that what else the
machine does falls on both. Encoders and media are the ones that come along: EfficientNet-Lite0 and pictures,
MiniLM and captions (and texts of 1 to 12 captions), Whisper's encoder and French speech of the stamps. Decoding
is not counted, preparing (resizing, tokenizing, spectrograms) is. Prints by how much the clock's and the
processor's time grow, medians of the ratios of the pairs, and the least cosine between both sides' vectors.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import turns
from turns import Side

KINDS = ("image", "text", "long text", "audio")
AS_IT_IS = "as it is"
AWAY = {  # what is taken away: the kinds of media that it can matter to
    "bf16 (float32)": KINDS,
    "sorting by length": ("text", "long text", "audio"),
    "the allocator's settings": KINDS,
    "a core each (one torch of all threads)": KINDS,
    "trimming (padded to 30 s)": ("audio",),
    "all of it (SENSORIUM_FAST=0)": KINDS,
}


# ---- one side: a process that encodes when it is told to -----------------------------------------------


def media_of(kind: str, number: int) -> list[Any]:
    from sensorium.data import bundled
    from sensorium.media import Source

    samples = bundled.stamps(language="fr")
    rng = np.random.default_rng(0)
    if kind == "audio":
        samples = [sample for sample in samples if "audio" in sample.columns]
    samples = [samples[n] for n in rng.permutation(len(samples))[:number]]
    if kind == "long text":
        captions = [str(sample.columns["text"]) for sample in samples]
        return [", ".join(rng.choice(captions, rng.integers(1, 13))) for _ in captions]
    found = [sample.columns[kind] for sample in samples]
    return [item.decode() if isinstance(item, Source) else item for item in found]


def encoder_of(kind: str, away: str) -> Any:
    from sensorium.encoders.audio import WhisperEncoder
    from sensorium.encoders.image import EfficientNetLite
    from sensorium.encoders.text import SentenceEncoder

    if kind == "image":
        return EfficientNetLite.pretrained()
    if kind == "audio":
        return WhisperEncoder.pretrained(padded=away.startswith("trimming"))
    return SentenceEncoder.pretrained()


def serve(kind: str, away: str, number: int, vectors: Path) -> None:
    """Takes turns at encoding."""
    from sensorium import speed

    if away.startswith("the allocator"):
        speed.MALLOPT.clear()
    if away.startswith("a core each"):
        speed.a_core_each = lambda task, items, device="cpu": map(task, items)
    speed.apply()
    import torch

    encoder, media = encoder_of(kind, away), media_of(kind, number)
    if away.startswith("sorting"):
        encoder.length = lambda item: 1
    dtype = torch.float32 if away.startswith("bf16") else None
    np.save(vectors, encoder.encode(media, what="pooled", dtype=dtype).pooled.numpy())

    def turn() -> tuple[float, float]:
        """Seconds of the clock and of the processor."""
        started, worked = time.perf_counter(), time.process_time()
        encoder.encode(media, what="pooled", dtype=dtype)
        return time.perf_counter() - started, time.process_time() - worked

    turns.serve(turn)


def side(kind: str, away: str, number: int, folder: Path) -> tuple[Side, Path]:
    """A process that encodes, and where it writes its vectors."""
    vectors = folder / f"{kind} {len(list(folder.iterdir()))}.npy"
    arguments = [__file__, "--serve", kind, away, str(number), str(vectors)]
    return Side(arguments, {"SENSORIUM_FAST": "0" if away.startswith("all of it") else "1"}), vectors


# ---- both sides ----------------------------------------------------------------------------------------


def compare(kind: str, number: int, rounds: int, chosen: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        whole, whole_vectors = side(kind, AS_IT_IS, number, Path(scratch))
        rates = []
        for away, kinds in AWAY.items():
            if kind not in kinds or not any(away.startswith(start) for start in chosen):
                continue
            other, other_vectors = side(kind, away, number, Path(scratch))
            pairs = [(whole.turn(), other.turn()) for _ in range(rounds)]
            other.close()
            rates += [number / cpu for (_, cpu), _ in pairs]
            slower, dearer = (
                statistics.median(without[clock] / of[clock] for of, without in pairs) for clock in (0, 1)
            )
            x, y = np.load(whole_vectors), np.load(other_vectors)
            cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
            print(f"{kind:10} without {away:40}{slower:9.2f}{dearer:9.2f}{cosine.min():14.4f}", flush=True)
        whole.close()
    print(f"{kind:10} {AS_IT_IS}: {statistics.median(rates):.0f} a second of processor time\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", default=KINDS, help=f"of {', '.join(KINDS)}; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, default=128, help="pictures, captions, sounds")
    parser.add_argument("--without", nargs="+", default=[""], help=f"lines that start so: {', '.join(AWAY)}")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        kind, away, number, vectors = options.serve
        serve(kind, away, int(number), Path(vectors))
        return
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"unknown {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if not any(away.startswith(start) for away in AWAY for start in options.without):
        parser.error(f"nothing starts with {' or '.join(options.without)}; there are {', '.join(AWAY)}")
    print(f"{options.items} items, {options.rounds} rounds")
    print(f"{'':58}{'× time':>9}{'× CPU':>9}{'least cosine':>14}", flush=True)
    for kind in options.kinds:
        compare(kind, options.items, options.rounds, options.without)


if __name__ == "__main__":
    main()
