"""Fusion: a training step against the same network written out by hand; low-rank against full tensor fusion.

    python benchmarks/fusion.py step [--rows 64 256] [--rounds 40]
    python benchmarks/fusion.py low-rank [--sizes 8 16 32] [--pairs 3] [--puzzle sentiment]

step: forward, loss, backward and AdamW of `FusionNetwork` with `Supervised` on pooled Features as the cache gives them
(columns of 1280, 384 and 384 units, joined at 256), and of a plain PyTorch script of the same network, whose labels
are numbers already. Both start with equal weights, and that they give equal outputs, losses and gradients is checked
first. They take turns in one process; "some missing": a row lacks each column with a chance of 0.3, which the script
meets with zeros and a mask.

low-rank: a training step of the fusion alone, `low_rank` of rank 4 and `tensor`, at equal sizes of the vectors that are
multiplied; each measurement is a process of its own, so that no peak hides in another's memory. With --puzzle: both as
they come (`tensor` narrows the columns to 16 units, `low_rank` takes all) trained on a bundled puzzle from frozen
encoders by the recipe `fusion`, scored on its test rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WIDTHS = {"image": 1280, "text": 384, "audio": 384}
WIDTH, LABELS, DROPOUT = 256, 8, 0.1
MISSING = 0.3
RANK, ROWS = 4, 64


# ---- a training step ------------------------------------------------------------------------------------


def by_hand() -> Any:
    """The script that somebody would write for these three columns."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = nn.Sequential(
                nn.LayerNorm(1280), nn.Linear(1280, WIDTH), nn.GELU(), nn.Dropout(DROPOUT)
            )
            self.text = nn.Sequential(
                nn.LayerNorm(384), nn.Linear(384, WIDTH), nn.GELU(), nn.Dropout(DROPOUT)
            )
            self.audio = nn.Sequential(
                nn.LayerNorm(384), nn.Linear(384, WIDTH), nn.GELU(), nn.Dropout(DROPOUT)
            )
            self.join = nn.Sequential(
                nn.Linear(3 * WIDTH, WIDTH), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, WIDTH)
            )
            self.head = nn.Linear(WIDTH, LABELS)

        def forward(self, image: Any, text: Any, audio: Any, here: Any = None) -> Any:
            x = torch.stack([self.image(image), self.text(text), self.audio(audio)], 1)
            if here is not None:
                x = x * here[:, :, None]
            x = self.join(x.flatten(1))
            if here is not None:
                x = x * here.any(1, keepdim=True)
            return self.head(x)

    return Network()


def ours() -> tuple[Any, Any]:
    """The network as `systems.fusion_network` builds it, without encoders: the cache stands for them."""
    from torch import nn

    from sensorium.fusion import fusion_of
    from sensorium.models.fusion_network import FusionNetwork
    from sensorium.projectors.column import ColumnProjector
    from sensorium.tasks import OneOf

    encoders = {column: nn.Identity() for column in WIDTHS}
    projectors = {column: ColumnProjector(width, WIDTH, DROPOUT) for column, width in WIDTHS.items()}
    task = OneOf("label", [f"label {number}" for number in range(LABELS)])
    fusion = fusion_of("concatenation", tuple(WIDTHS), WIDTH, dropout=DROPOUT)
    return FusionNetwork(encoders, projectors, fusion, [task]), task


def same_weights(model: Any, script: Any) -> None:
    """Copy the model's into the script."""
    for column in WIDTHS:
        part = getattr(script, column)
        part[0].load_state_dict(model.projectors[column].norm.state_dict())
        part[1].load_state_dict(model.projectors[column].linear.state_dict())
    script.join.load_state_dict(model.fusion.layers.state_dict())
    script.head.load_state_dict(model.heads["label"]["fused"].state_dict())


def batch_of(rows: int, missing: float) -> tuple[Any, tuple[Any, ...]]:
    """The same rows for both sides: a `Batch`, and (inputs of each column…, presence or None, labels)."""
    import torch

    from sensorium.data.sample import Batch, Column
    from sensorium.features import Features

    torch.manual_seed(0)
    here = torch.rand(rows, len(WIDTHS)) >= missing
    values = [torch.randn(rows, width) for width in WIDTHS.values()]
    labels = torch.randint(LABELS, (rows,))
    columns = {
        column: Column(column, Features.from_pooled(value[here[:, place]]), here[:, place].clone())
        for place, (column, value) in enumerate(zip(WIDTHS, values))
    }
    names = [f"label {number}" for number in labels.tolist()]
    ids = tuple(str(number) for number in range(rows))
    batch = Batch(ids, columns, torch.full((rows, 1), -1), {"label": names})
    padded = [value * here[:, place, None] for place, value in enumerate(values)]
    return batch, (*padded, here.float() if missing else None, labels)


def sides(rows: int, missing: float) -> tuple[Callable[[], float], Callable[[], float]]:
    """A step of ours and one of the script's, each returning its loss; equal without dropout, or an error."""
    import torch
    import torch.nn.functional as F

    from sensorium.objectives.supervised import Supervised

    model, task = ours()
    script = by_hand()
    same_weights(model, script)
    batch, (*inputs, labels) = batch_of(rows, missing)
    objective = Supervised([task])

    def our_loss() -> torch.Tensor:
        return objective(model, batch)["label"]

    def their_loss() -> torch.Tensor:
        return F.cross_entropy(script(*inputs), labels)

    model.eval()
    script.eval()
    torch.testing.assert_close(model(batch).outputs["label"], script(*inputs))
    losses = our_loss(), their_loss()
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(model.fusion.layers[0].weight.grad, script.join[0].weight.grad)
    model.train()
    script.train()

    def step_of(module: Any, loss_of: Callable[[], torch.Tensor]) -> Callable[[], float]:
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)

        def step() -> float:
            loss = loss_of()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.item()

        return step

    return step_of(model, our_loss), step_of(script, their_loss)


def compare_steps(options: argparse.Namespace) -> None:
    from sensorium import speed

    speed.apply()
    import torch

    torch.set_num_threads(options.threads)
    print(f"median of {options.rounds} pairs, {options.threads} threads; ours / by hand")
    print(f"{'':<26}{'× time':>8}{'× CPU':>8}{'loss, ours':>12}{'by hand':>10}")
    for rows in options.rows:
        for name, missing in (("all present", 0.0), ("some missing", MISSING)):
            pair = sides(rows, missing)
            for step in pair:  # load what loads at first use
                step()
                step()
            taken: tuple[list[Any], list[Any]] = ([], [])
            for turn in range(options.rounds):
                for side in (0, 1) if turn % 2 else (1, 0):
                    started, worked = time.perf_counter(), time.process_time()
                    loss = pair[side]()
                    taken[side].append((time.perf_counter() - started, time.process_time() - worked, loss))
            clock, cpu, loss = zip(*([statistics.median(kind) for kind in zip(*side)] for side in taken))
            print(
                f"{rows:>4} rows, {name:<14}{clock[0] / clock[1]:>8.2f}{cpu[0] / cpu[1]:>8.2f}"
                f"{loss[0]:>12.4f}{loss[1]:>10.4f}",
                flush=True,
            )


# ---- low-rank against full tensor fusion ----------------------------------------------------------------


def measure(kind: str, size: int, rounds: int) -> dict[str, float]:
    """Training steps of one fusion, in this process."""
    import torch

    from sensorium.features import Features
    from sensorium.fusion import fusion_of

    torch.manual_seed(0)
    columns = tuple(WIDTHS)
    features = {column: Features.from_pooled(torch.randn(ROWS, WIDTH)) for column in columns}
    here = dict.fromkeys(columns, torch.ones(ROWS, dtype=torch.bool))
    torch.nn.Linear(8, 8)(torch.randn(8, 8)).sum().backward()
    before = peak_megabytes()
    fusion = fusion_of(kind, columns, WIDTH, **({"rank": RANK} if kind == "low_rank" else {}), size=size)
    optimizer = torch.optim.AdamW(fusion.parameters(), lr=1e-4)
    taken = []
    for _ in range(rounds + 1):
        started, worked = time.perf_counter(), time.process_time()
        fusion(features, here).branches["fused"].pooled.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        taken.append((time.perf_counter() - started, time.process_time() - worked))
    clock, cpu = (
        statistics.median(kind) for kind in zip(*taken[1:])
    )  # the first loads what loads at first use
    weights = sum(parameter.numel() for parameter in fusion.parameters())
    return {"clock": clock, "cpu": cpu, "above": peak_megabytes() - before, "weights": weights}


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts kilobytes


def compare_low_rank(options: argparse.Namespace) -> None:
    print(f"tensor / low_rank of rank {RANK}: three columns, {ROWS} rows, joined at {WIDTH}, a training step")
    print(f"{'size':>6}{'× time':>9}{'× CPU':>9}{'× weights':>11}{'memory, MB: tensor, low_rank':>32}")
    for size in options.sizes:
        runs: dict[str, list[dict[str, float]]] = {"tensor": [], "low_rank": []}
        for _ in range(options.pairs):
            for kind, found in runs.items():
                command = [sys.executable, __file__, "measure", kind, str(size), str(options.rounds)]
                command += ["--threads", str(options.threads)]
                found.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
        ratio = {
            key: statistics.median(full[key] / low[key] for full, low in zip(*runs.values()))
            for key in ("clock", "cpu", "weights")
        }
        above = [statistics.median(run["above"] for run in found) for found in runs.values()]
        print(
            f"{size:>6}{ratio['clock']:>9.1f}{ratio['cpu']:>9.1f}{ratio['weights']:>11.1f}"
            f"{above[0]:>22.0f}{above[1]:>10.0f}",
            flush=True,
        )
    if options.puzzle:
        compare_scores(options)


def compare_scores(options: argparse.Namespace) -> None:
    """Both kinds on one puzzle, with the recipe's budget, from the same cached Features."""
    from sensorium.recipes.fusion import fusion
    from sensorium.training.loop import fit

    for seed in range(options.seeds):
        for kind in ("tensor", "low_rank"):
            run = fusion(
                options.puzzle,
                kind,
                folder=Path(options.folder) / f"{options.puzzle} {kind} {seed}",
                steps=options.steps,
                seed=seed,
                cache=options.cache,
                progress=False,
            )
            print(f"{kind}, seed {seed}: {json.dumps(fit(run).scores)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_subparsers(dest="which", required=True)
    step = which.add_parser("step", help="a training step, and the same written out by hand")
    step.add_argument("--rows", type=int, nargs="+", default=[64, 256], help="of a batch")
    step.add_argument("--rounds", type=int, default=40, help="pairs of steps a line")
    low = which.add_parser("low-rank", help="low-rank and full tensor fusion")
    low.add_argument("--sizes", type=int, nargs="+", default=[8, 16, 32], help="of the vectors multiplied")
    low.add_argument("--rounds", type=int, default=5, help="steps a measurement")
    low.add_argument("--pairs", type=int, default=3, help="processes of each")
    low.add_argument("--puzzle", help="also train both on this one, and print its scores")
    low.add_argument("--steps", type=int, default=300, help="of training on the puzzle")
    low.add_argument("--seeds", type=int, default=3)
    low.add_argument("--folder", default="runs/benchmark_fusion")
    low.add_argument("--cache", type=Path, help="of features; by default that of all recipes")
    one = which.add_parser("measure", help="what low-rank runs: one fusion, printed as JSON")
    one.add_argument("kind")
    one.add_argument("size", type=int)
    one.add_argument("rounds", type=int)
    for each in (step, low, one):
        each.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.which == "step":
        compare_steps(options)
    elif options.which == "low-rank":
        compare_low_rank(options)
    else:
        import torch

        torch.set_num_threads(options.threads)
        print(json.dumps(measure(options.kind, options.size, options.rounds)))


if __name__ == "__main__":
    main()
