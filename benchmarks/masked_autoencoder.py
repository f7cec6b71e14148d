"""A training step of a masked autoencoder: ours against `transformers.ViTMAEForPreTraining` in a plain loop.

    python benchmarks/masked_autoencoder.py [--size tiny] [--batch 64] [--rounds 5] [--precision bf16]

The same weights, pictures and optimiser on both sides; AdamW, three patches of four hidden, masks drawn anew every
step. Before anything is timed, both must have the same loss on the same masks in float32, to 1e-4. Ours is
`training.loop.train_step` with `systems.mae`, once as it is and once without the allocator's settings
(`SENSORIUM_FAST=0`); theirs is forward, backward, clip, step. Sides are processes that take turns; printed are the
medians of the ratios of the pairs by the clock and in processor time, pictures a second of processor time, and each
side's peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import turns

OURS, PLAIN_OURS, THEIRS = "ours", "ours, SENSORIUM_FAST=0", "transformers, plain loop"
SIDES = (OURS, PLAIN_OURS, THEIRS)
LR, CLIP = 1e-4, 1.0


def model_of(size: str) -> Any:
    import torch

    from sensorium.systems.mae import mae

    torch.manual_seed(0)
    return mae(size)


def pictures_of(model: Any, batch: int) -> Any:
    """uint8[B, 3, h, w], drawn by chance: what they show costs nothing."""
    import torch

    side = model.encoder.make.resize[0]
    return torch.randint(0, 256, (batch, 3, side, side), generator=torch.Generator().manual_seed(1)).byte()


def loss_of(options: argparse.Namespace, side: str) -> float:
    """In float32, on one and the same mask."""
    import torch

    from sensorium.data.augment import AugmentedPictures, Pictures
    from sensorium.objectives.masked_patches import MaskedPatches
    from sensorium.systems.mae import to_transformers

    model = model_of(options.size)
    pixels = pictures_of(model, options.batch)
    noise = torch.rand(
        options.batch, len(model.decoder.positions) - 1, generator=torch.Generator().manual_seed(2)
    )
    with torch.no_grad():
        if side == THEIRS:
            return float(to_transformers(model)(model.pixels({"pixels": pixels}), noise=noise).loss)
        pictures = Pictures([str(n) for n in range(options.batch)], pixels, {})
        batch = AugmentedPictures(pictures, {"image": None})(range(options.batch))
        return float(MaskedPatches().loss(model(batch, noise)))


def ours(options: argparse.Namespace, folder: Path) -> Callable[[], Any]:
    from sensorium.data.augment import AugmentedPictures, Pictures
    from sensorium.objectives.masked_patches import MaskedPatches
    from sensorium.training import distributed, optim
    from sensorium.training.adaptation import set_training
    from sensorium.training.loop import train_step
    from sensorium.training.losses import WeightedLosses
    from sensorium.training.order import Batches, Places, load
    from sensorium.training.run import Run

    model = model_of(options.size)
    pictures = Pictures([str(n) for n in range(options.batch)], pictures_of(model, options.batch), {})
    run = Run(
        name="benchmark",
        folder=folder,
        system="mae",
        model=model,
        data=range(options.batch),
        collate=AugmentedPictures(pictures, {"image": None}),
        objectives=[MaskedPatches()],
        batch_size=options.batch,
        steps=1_000_000,
        lr=LR,
        schedule="constant",
        warmup=0,
        clip=CLIP,
        precision=options.precision,
        progress=False,
    )
    # The part of `fit` before its first step.
    accelerator = distributed.start(run.batch_size)
    autocast = distributed.autocast_dtype(run.precision, accelerator.device)
    set_training(model)
    losses = WeightedLosses(model, run.objectives, run.weights, autocast, anchored=False)
    optimizer = accelerator.prepare_optimizer(optim.build(run))
    places = Places(run.order, run.seed, len(run.data), run.batch_size)
    drawn = load(Batches(run.data, run.collate, run.seed), places, workers=0)
    return lambda: train_step(run, 0, losses, optimizer, drawn, accelerator)


def theirs(options: argparse.Namespace) -> Callable[[], Any]:
    import torch

    from sensorium.systems.mae import to_transformers

    source = model_of(options.size)
    pixels, model = pictures_of(source, options.batch), to_transformers(source).train()
    mean, std = (torch.tensor(v)[:, None, None] for v in (source.encoder.make.mean, source.encoder.make.std))
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, LR, (0.9, 0.98), weight_decay=0.01)

    def step() -> None:
        normed = (pixels.float() / 255 - mean) / std
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
            loss = model(normed).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return step


def serve(options: argparse.Namespace) -> None:
    side = options.serve
    if side != THEIRS:
        from sensorium import speed

        speed.apply()
    import torch

    torch.set_num_threads(options.threads)
    found = loss_of(options, side)
    with tempfile.TemporaryDirectory() as folder:
        step = theirs(options) if side == THEIRS else ours(options, Path(folder))
        step()

        def turn() -> dict[str, float]:
            started, worked = time.perf_counter(), time.process_time()
            for _ in range(options.steps):
                step()
            clock, cpu = time.perf_counter() - started, time.process_time() - worked
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            return {"clock": clock, "cpu": cpu, "peak": peak, "loss": found}

        turns.serve(turn)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="tiny", help="of systems/mae.py")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3, help="of one turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options)
        return
    asked = [
        f"--{name}={getattr(options, name)}" for name in ("size", "batch", "steps", "threads", "precision")
    ]
    sides = {
        name: turns.Side(
            [__file__, f"--serve={name}", *asked], {"SENSORIUM_FAST": "0"} if name == PLAIN_OURS else {}
        )
        for name in SIDES
    }
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
    for _ in range(options.rounds):
        for name, side in sides.items():
            measured[name].append(side.turn())
    for side in sides.values():
        side.close()
    losses = {name: rounds[0]["loss"] for name, rounds in measured.items()}
    if max(losses.values()) - min(losses.values()) > 1e-4:
        sys.exit(f"the sides compute different losses: {json.dumps(losses)}")
    print(
        f"{options.size}, {options.batch} pictures a step, {options.precision}, {options.threads} threads, "
        f"{options.rounds} rounds of {options.steps} steps; the loss of all before training: {losses[OURS]:.6f}"
    )
    print(f"{'':28}{'× time':>9}{'× CPU':>9}{'pairs (CPU)':>34}{'pictures/s':>13}{'peak MB':>10}")
    for name, rounds in measured.items():
        pairs = {
            kind: [there[kind] / here[kind] for there, here in zip(rounds, measured[OURS])]
            for kind in ("clock", "cpu")
        }
        each = " ".join(f"{ratio:.2f}" for ratio in pairs["cpu"])
        rate = options.batch * options.steps / statistics.median(turn["cpu"] for turn in rounds)
        print(
            f"{name:28}{statistics.median(pairs['clock']):9.2f}{statistics.median(pairs['cpu']):9.2f}{each:>34}"
            f"{rate:13.0f}{max(turn['peak'] for turn in rounds):10.0f}"
        )


if __name__ == "__main__":
    main()
