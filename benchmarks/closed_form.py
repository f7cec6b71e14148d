"""Fitting the closed-form aligner: `objectives.align` against the textbook's route, and where its time goes.

    python benchmarks/closed_form.py [--rounds 3]

The textbook's canonical correlation analysis inverts the roots of both covariances by their eigen-decompositions
and takes the singular value decomposition of what they whiten, all in float64. `align` takes Cholesky factors,
and the eigenvectors of the smaller Gram matrix instead of the singular vectors. Features are random with a shared
part, of the sizes that recipes meet: three views of 6,000 pictures, 1,904 wide, against 6,000 captions, say.
The routes take turns. Prints medians in seconds of the clock and of the processor, the share of the
eigen-decomposition, and how far the canonical correlations of the two routes are apart.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from sensorium import speed
from sensorium.objectives import align

SIZES = {  # picture rows × width, caption rows × width, rank
    "6,000 × 1,280, 6,000 × 384": (6000, 1280, 6000, 384, 300),
    "18,000 × 1,904, 6,000 × 1,152": (18000, 1904, 6000, 1152, 600),
}
RIDGE = {"image": 1.0, "text": 0.003}  # × the mean variance


def make(rows: int, width: int, pairs: int, text_width: int) -> tuple[Tensor, Tensor]:
    """The first `pairs` rows of both sides share 300 dimensions."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(rows, 300, generator=generator)
    image, text = (
        shared[:n] @ torch.randn(300, w, generator=generator) + 10 * torch.randn(n, w, generator=generator)
        for n, w in ((rows, width), (pairs, text_width))
    )
    return image, text


def textbook(image: Tensor, text: Tensor, rank: int) -> Tensor:
    """Canonical correlations by the singular value decomposition, float64[rank]."""
    roots, centred = [], []
    for name, rows in (("image", image), ("text", text)):
        rows = rows.double() - rows.double().mean(0)
        covariance = rows.T @ rows / len(rows)
        covariance.diagonal().add_(RIDGE[name] * covariance.diagonal().mean())
        values, vectors = torch.linalg.eigh(covariance)
        roots.append(vectors / values.sqrt() @ vectors.T)
        centred.append(rows[: len(text)] - rows[: len(text)].mean(0))
    cross = centred[0].T @ centred[1] / len(text)
    _, correlations, _ = torch.linalg.svd(roots[0] @ cross @ roots[1], full_matrices=False)
    return correlations[:rank].clamp(max=1.0)


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    started, worked = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - started, time.process_time() - worked, result


def compare(title: str, rounds: int) -> str:
    rows, width, pairs, text_width, rank = SIZES[title]
    image, text = make(rows, width, pairs, text_width)
    features = {"image": image, "text": text}
    present = {"image": torch.ones(rows, dtype=torch.bool), "text": torch.arange(rows) < pairs}
    inside: list[float] = []  # processor seconds of each eigen-decomposition in `align`
    eigh = torch.linalg.eigh

    def watched(matrix: Tensor) -> Any:
        _, cpu, found = timed(lambda: eigh(matrix))
        inside.append(cpu)
        return found

    def ours() -> Tensor:
        with mock.patch("torch.linalg.eigh", watched):
            return align(features, present, rank=rank, ridge=RIDGE).correlations

    ours()
    inside.clear()
    runs = [(timed(ours), timed(lambda: textbook(image, text, rank))) for _ in range(rounds)]
    clock, cpu = (statistics.median(fit[kind] for fit, _ in runs) for kind in (0, 1))
    slow, dear = (statistics.median(book[kind] for _, book in runs) for kind in (0, 1))
    faster, cheaper = (statistics.median(book[kind] / fit[kind] for fit, book in runs) for kind in (0, 1))
    share = statistics.median(part / fit[1] for part, (fit, _) in zip(inside, runs))
    (*_, found), (*_, expected) = runs[0]
    return (
        f"{title}, rank {rank}: align {clock:.2f} / {cpu:.2f}, textbook {slow:.2f} / {dear:.2f}\n"
        f"    {faster:.1f}× faster, {cheaper:.1f}× in CPU time; eigen-decomposition {share:.0%} of align's CPU "
        f"time; correlations apart by {(found - expected).abs().max():.0e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    speed.apply()
    print(f"medians of {options.rounds} rounds, seconds of the clock / of the processor")
    for title in SIZES:
        print(compare(title, options.rounds))


if __name__ == "__main__":
    main()
