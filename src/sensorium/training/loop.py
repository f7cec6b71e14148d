"""`fit`: the training loop, in the order in which things happen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from sensorium import speed
from sensorium.training import checkpoint, conflict, describe, distributed, optim
from sensorium.training import resume as saved_state
from sensorium.training.adaptation import freeze, set_training, untouched
from sensorium.training.card import card
from sensorium.training.history import History, bar, write_text
from sensorium.training.losses import WeightedLosses
from sensorium.training.order import Batches, Place, Places, load
from sensorium.training.preflight import preflight
from sensorium.training.randomness import preserved, seed_all
from sensorium.training.run import Run, TrainingError
from sensorium.training.unfreezing import Unfreezing


@dataclass(frozen=True)
class Trained:
    """What `fit` returns.

    model:      the trained model, in evaluation mode, with the averaged weights when the run has `ema`
    checkpoint: the folder of its last checkpoint
    steps:      one record a step, as in history.jsonl
    scores:     of the last evaluation, as in metrics.json
    """

    model: nn.Module
    checkpoint: Path
    steps: list[dict[str, Any]]
    scores: dict[str, dict[str, Any]]


def fit(run: Run, resume: bool = True) -> Trained:
    """Train a run from its newest checkpoint (or from the start) to its last step.

    resume: False starts at step 0 and moves the records of an earlier run in the folder aside. A resumed run
            gives the same losses and weights, bit for bit, as one that was never interrupted (on the same
            machine, with the same number of threads and processes). A finished run returns at once.

    Raises TrainingError for a run that cannot work, before training where that can be known.
    """
    # ── data ──────────────────────────────────────────────────────────────────────────────────────────────
    speed.apply()
    accelerator = distributed.start(run.batch_size)
    rank, ranks, main = accelerator.process_index, accelerator.num_processes, accelerator.is_main_process
    conflict.check(run, ranks)
    folder, model, total_steps = Path(run.folder), run.model.to(accelerator.device), run.total_steps
    batches = Batches(run.data, run.collate, run.seed)
    newest = distributed.gather(saved_state.open_folder(run, resume) if main else None)[0]

    # ── preflight ─────────────────────────────────────────────────────────────────────────────────────────
    freeze(model, run.freeze)
    autocast = distributed.autocast_dtype(run.precision, accelerator.device)
    report = preflight(run, autocast, rank, ranks)
    if main:
        write_text(folder / "preflight.txt", f"{report}\n")
    if main and run.progress:
        print(f"{report}\n", flush=True)

    # ── model ─────────────────────────────────────────────────────────────────────────────────────────────
    frozen = checkpoint.frozen_parts(model)
    unfreezing = Unfreezing(run, ranks)
    set_training(model)
    losses: Any = WeightedLosses(
        model, run.objectives, run.weights, autocast, anchored=ranks > 1, attached=bool(run.conflict)
    )
    if ranks > 1:  # alone, accelerate would only import for seconds to find nothing to do
        losses = accelerator.prepare_model(losses)

    # ── optimiser ─────────────────────────────────────────────────────────────────────────────────────────
    optimizer = accelerator.prepare_optimizer(optim.build(run))
    average = None if run.ema is None else optim.Average(model, run.ema)

    # ── resume ────────────────────────────────────────────────────────────────────────────────────────────
    settings = run.settings() | {"precision": "bf16" if autocast else "fp32", "processes": ranks}
    seed_all(run.seed, rank)
    start = saved_state.restore(run, newest, optimizer, average, settings, rank) if newest else 0
    if main and run.progress and start:
        print(f"going on from step {start} of {total_steps} ({newest})\n", flush=True)
    history = History(folder, start, main, run.tensorboard)
    places = Places(run.order, run.seed, len(run.data), run.batch_size, start * run.accumulate, rank, ranks)
    drawn = load(batches, places, run.workers)

    with bar(run.progress and main) as progress:
        task = progress.add_task(run.name, total=total_steps, completed=start, loss=float("nan"), rate=0.0)
        for step in range(start, total_steps + 1):
            # ── evaluate ──────────────────────────────────────────────────────────────────────────────────
            # Before the next step rather than after this one: a run killed between saving and evaluating
            # catches up.
            if run.evaluate is not None and due(step, run.evaluate_every, total_steps):
                scored = history.scores()
                if main and (scored is None or scored[0] != step):
                    history.add_scores(step, evaluate(run, average))
                if main and newest is not None and checkpoint.step_of(newest) == step:
                    checkpoint.write_card(newest, card(run, report, step, frozen, history.scores()))
                accelerator.wait_for_everyone()
            if step == total_steps:
                break

            # ── step ──────────────────────────────────────────────────────────────────────────────────────
            began = time.perf_counter()
            unfreezing.open_at(step)
            record = train_step(run, step, losses, optimizer, drawn, accelerator)
            if average is not None:
                average.update(step)

            # ── log ───────────────────────────────────────────────────────────────────────────────────────
            rate = run.batch_size * run.accumulate / (time.perf_counter() - began)
            history.add(record | {"rows_per_second": round(rate, 1)})
            progress.update(task, advance=1, loss=record["loss"], rate=rate)

            # ── save ──────────────────────────────────────────────────────────────────────────────────────
            if due(step + 1, run.save_every, total_steps):
                with unfreezing.all_open():
                    text = card(run, report, step + 1, frozen, history.scores())
                    newest = saved_state.write(
                        run, step + 1, optimizer, average, frozen, settings, text, main
                    )
    history.close()
    if average is not None:
        average.swap()
    assert newest is not None  # the last step saves
    scored = history.scores()
    return Trained(model.eval(), newest, history.steps, {} if scored is None else scored[1])


def train_step(
    run: Run,
    step: int,
    losses: Any,
    optimizer: torch.optim.Optimizer,
    drawn: Iterator[tuple[Place, Any]],
    accelerator: Accelerator,
) -> dict[str, Any]:
    """One optimiser step over `run.accumulate` batches. Returns its record for the history.

    Raises TrainingError when a loss or the gradient is not finite, before the weights are touched.
    """
    rates = optim.set_rates(optimizer, optim.schedule(run, step))
    totals: list[float] = []
    named: dict[str, list[float]] = {}
    apart = conflict.LossGradients(run.model) if run.conflict else None
    for number in range(run.accumulate):
        place, batch = next(drawn)
        last = number == run.accumulate - 1
        with nullcontext() if last else accelerator.no_sync(losses):
            total, found = losses(distributed.to_device(batch, accelerator.device))
            values = {name: value.item() for name, value in found.items()}
            ids = "" if total.isfinite() else describe.ids(batch, place.rows)
            # Every process must know of it: one that stops alone leaves the others waiting.
            everywhere = distributed.gather((total.item(), values, ids))
            check_finite(step, everywhere)
            if apart is not None:
                apart.add({name: loss / run.accumulate for name, loss in losses.weighted(found).items()})
            elif total.requires_grad:  # not where a batch has nothing that the objectives compare
                accelerator.backward(total / run.accumulate)
        totals.append(sum(total for total, _, _ in everywhere) / len(everywhere))
        for _, values, _ in everywhere:
            for name, value in values.items():
                named.setdefault(name, []).append(value)
    cosines = apart.merge(str(run.conflict), run.seed, step) if apart else {}
    for parameter in optim.trainable(run.model).values():
        if parameter.grad is None:  # no batch used it; among several processes the losses' anchor says so
            parameter.grad = torch.zeros_like(parameter)
    norm = accelerator.clip_grad_norm_(losses.parameters(), run.clip or float("inf"))
    if not norm.isfinite():
        bad = [
            n
            for n, p in optim.trainable(run.model).items()
            if p.grad is not None and not p.grad.isfinite().all()
        ]
        raise TrainingError(
            f"the gradient of step {step + 1} is not finite (its loss is) in {', '.join(bad[:4])}"
            f"{' …' if len(bad) > 4 else ''}; lower lr, or set precision='fp32'"
        )
    optimizer.step()
    optimizer.zero_grad()
    return {
        "step": step + 1,
        "epoch": round((step + 1) * run.accumulate / run.epoch_batches, 4),
        "loss": sum(totals) / len(totals),
        **{f"loss/{name}": sum(values) / len(values) for name, values in named.items()},
        **{f"lr/{part}" if part else "lr": rate for part, rate in rates.items()},
        "grad_norm": norm.item(),
        **cosines,
    }


def evaluate(run: Run, average: optim.Average | None) -> dict[str, Any]:
    """The run's scores of the model as it would be saved. Leaves the model and the random states alone."""
    assert run.evaluate is not None
    with untouched(run.model), preserved(), torch.no_grad(), average.in_use() if average else nullcontext():
        return dict(run.evaluate(run.model.eval()))


def due(step: int, every: int | None, total: int) -> bool:
    """Whether something happens after `step` steps: every so many, and at the end."""
    return step > 0 and (step == total or (every is not None and step % every == 0))


def check_finite(step: int, everywhere: list[tuple[float, dict[str, float], str]]) -> None:
    """Raise TrainingError when a process has a loss that is not finite: which loss, step and samples."""
    for _, values, ids in everywhere:
        if ids:
            bad = ", ".join(
                f"{name} = {value}" for name, value in values.items() if not abs(value) < float("inf")
            )
            raise TrainingError(
                f"the loss of step {step + 1} is not finite: {bad or 'the weighted sum overflows'}, for "
                f"{ids}; look at these samples, lower lr or clip, or set precision='fp32'"
            )
