"""Chunked against plain contrastive loss: peak memory and time of one loss with its gradients.

    python benchmarks/contrastive_loss.py [--rows 8192] [--width 512] [--chunk 256] [--pairs 3]

Every measurement is a process of its own, so that no peak hides in another's memory; plain and chunked take
turns, so that what else the machine does falls on both. "clip" is the usual code (one matrix of logits,
`F.cross_entropy` both ways), which knows no shared meanings, as a second yardstick. Peak: the most resident
memory of the process, and how much of it came after the inputs were made. Prints a table and the ratios.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

FORMS = ("clip", "plain", "chunked", "siglip plain", "siglip chunked")


def measure(form: str, rows: int, width: int, chunk: int) -> dict[str, float]:
    """One loss and its gradients, in this process."""
    import torch
    import torch.nn.functional as F

    from sensorium import speed
    from sensorium.models.joint_embedding import Embeddings
    from sensorium.objectives import InfoNCE, SigLIP

    speed.apply()
    torch.manual_seed(0)
    present = torch.ones(rows, dtype=torch.bool)
    meanings = torch.arange(rows)[:, None]
    x, y = (F.normalize(torch.randn(rows, width), dim=1).requires_grad_() for _ in range(2))
    scale, bias = torch.tensor(14.0, requires_grad=True), torch.tensor(-10.0, requires_grad=True)

    def loss_of(n: int) -> torch.Tensor:
        if form == "clip":
            logits, own = scale * x[:n] @ y[:n].T, torch.arange(n)
            return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        objective = (SigLIP if form.startswith("siglip") else InfoNCE)(
            chunk=chunk if "chunked" in form else None
        )
        vectors = {"picture": x[:n], "caption": y[:n]}
        masks = dict.fromkeys(vectors, present[:n])
        return sum(objective.losses(Embeddings(vectors, masks, scale, bias), meanings[:n]).values())

    loss_of(64).backward()  # load what loads at first use
    before = peak_megabytes()
    started, worked = time.perf_counter(), time.process_time()
    loss = loss_of(rows)
    loss.backward()
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    peak = peak_megabytes()
    return {
        "loss": loss.item(),
        "gradient": x.grad.norm().item(),
        "seconds": seconds,
        "cpu": cpu,
        "peak": peak,
        "above": peak - before,
    }


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts kilobytes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=3, help="how often the forms take turns")
    parser.add_argument("--form", choices=FORMS, help="measure this one, here, and print JSON")
    options = parser.parse_args()
    if options.form:
        print(json.dumps(measure(options.form, options.rows, options.width, options.chunk)))
        return
    sizes = ["--rows", options.rows, "--width", options.width, "--chunk", options.chunk]
    results: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
    for _ in range(options.pairs):
        for form in FORMS:
            command = [sys.executable, __file__, "--form", form, *map(str, sizes)]
            results[form].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    print(f"{options.rows} rows, width {options.width}, chunks of {options.chunk}, {options.pairs} turns")
    print(f"{'':<16}{'peak MB':>9}{'above':>9}{'seconds':>9}{'CPU s':>9}{'loss':>12}{'|gradient|':>13}")
    for form, runs in results.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(
            f"{form:<16}{middle['peak']:>9.0f}{middle['above']:>9.0f}{middle['seconds']:>9.2f}{middle['cpu']:>9.2f}"
            f"{middle['loss']:>12.6f}{middle['gradient']:>13.6f}"
        )
    for one, other in (("plain", "chunked"), ("clip", "chunked"), ("siglip plain", "siglip chunked")):
        ratios = {
            key: statistics.median(b[key] / a[key] for a, b in zip(results[one], results[other], strict=True))
            for key in ("peak", "above", "seconds", "cpu")
        }
        print(
            f"{other} / {one}: peak {ratios['peak']:.2f}, above the inputs {ratios['above']:.2f}, "
            f"time {ratios['seconds']:.2f}, CPU time {ratios['cpu']:.2f}"
        )


if __name__ == "__main__":
    main()
