"""Training epochs over frozen encoders: Features read from the cache against Features computed every step.

    python benchmarks/training_cache.py [--pictures 512] [--epochs 2] [--size 112] [--repeats 3]

The same run twice on the same drawings and names of the bundled emoji (frozen EfficientNet-Lite0 and MiniLM,
linear heads, InfoNCE): `Collator` decodes and encodes every step, `Collator.with_cache` reads memory-mapped
Features. Each measurement is a process of its own and the two take turns. An epoch is its number of batches
times the median step, loading included, in seconds of the clock and of the processor (which other programs on
the machine disturb less). Filling the cache is timed apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

FORMS = ("computed", "cached")


def measure(form: str, folder: Path, pictures: int, epochs: int, size: int) -> dict[str, float]:
    """One training run, in this process."""
    import torch
    from torch import nn

    from sensorium import speed
    from sensorium.data import bundled
    from sensorium.data.batch import Collator
    from sensorium.data.feature_cache import FeatureCache
    from sensorium.encoders.image import EfficientNetLite
    from sensorium.encoders.text import SentenceEncoder
    from sensorium.models.joint_embedding import JointEmbedding
    from sensorium.objectives.info_nce import InfoNCE
    from sensorium.projectors.linear import LinearHead
    from sensorium.training.loop import fit
    from sensorium.training.run import Run

    speed.apply()
    samples = bundled.emoji("train", bundled.TRAIN_ARTISTS)
    samples = samples[:: max(1, len(samples) // pictures)][:pictures]
    encoders = {
        "image": EfficientNetLite.pretrained(size=size).requires_grad_(False),
        "text": SentenceEncoder.pretrained().requires_grad_(False),
    }
    torch.manual_seed(0)
    heads = {name: LinearHead(nn.Linear(encoder.width, 256)) for name, encoder in encoders.items()}
    began, worked = time.perf_counter(), time.process_time()
    if form == "cached":
        cache = FeatureCache(folder / "cache")
        collate = Collator.with_cache(samples, encoders, cache, progress=False)
    else:
        collate = Collator(encoders, samples=samples)
    filling, filling_cpu = time.perf_counter() - began, time.process_time() - worked
    moments: list[tuple[float, float]] = []  # clock and processor time at each step

    class Watched(InfoNCE):
        def __call__(self, model, batch):  # type: ignore[no-untyped-def]
            moments.append((time.perf_counter(), time.process_time()))
            return super().__call__(model, batch)

    trained = fit(
        Run(
            name=form,
            folder=folder / "run",
            system="benchmark",
            model=JointEmbedding(encoders, heads, scale=5.0),
            data=range(len(samples)),
            collate=collate,
            objectives=[Watched()],
            batch_size=64,
            epochs=epochs,
            freeze=["encoders", "log_scale"],
            progress=False,
        )
    )
    steps = moments[-len(trained.steps) :]  # the calls before are the preflight's
    clock, cpu = (
        statistics.median(later[kind] - earlier[kind] for earlier, later in pairwise(steps))
        for kind in (0, 1)
    )
    batches = len(samples) / 64
    return {
        "epoch": batches * clock,
        "epoch_cpu": batches * cpu,
        "filling": filling,
        "filling_cpu": filling_cpu,
        "loss": trained.steps[-1]["loss"],
    }


def in_its_own_process(form: str, options: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--form", form, "--folder", folder]
        for name in ("pictures", "epochs", "size"):
            command += [f"--{name}", str(getattr(options, name))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=int, default=512, help="drawings to train on")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--size", type=int, default=112, help="side of a picture in pixels")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each form")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.form:
        print(
            json.dumps(measure(options.form, options.folder, options.pictures, options.epochs, options.size))
        )
        return
    found: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
    for _ in range(options.repeats):
        for form in FORMS:
            found[form].append(in_its_own_process(form, options))
    of = {
        form: {key: statistics.median(result[key] for result in results) for key in results[0]}
        for form, results in found.items()
    }
    print(f"{options.pictures} drawings at {options.size} px, batches of 64, {options.repeats} runs each\n")
    print("| features | epoch, s | epoch, CPU s | filling, s | last loss |")
    print("|---|---|---|---|---|")
    for form, result in of.items():
        print(
            f"| {form} | {result['epoch']:.3f} | {result['epoch_cpu']:.3f} | {result['filling']:.1f} | "
            f"{result['loss']:.4f} |"
        )
    computed, cached = of["computed"], of["cached"]
    print(
        f"\nFrom the cache an epoch is {computed['epoch'] / cached['epoch']:.0f}× faster "
        f"({computed['epoch_cpu'] / cached['epoch_cpu']:.0f}× less processor time); filling it costs "
        f"{cached['filling_cpu'] / computed['epoch_cpu']:.1f} computed epochs of processor time."
    )


if __name__ == "__main__":
    main()
