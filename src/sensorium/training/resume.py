"""The state of a run between two steps: written beside a checkpoint's weights, and put back bit for bit.

weights, optimiser, average, random state of every process, position in the data  ◄──►  checkpoints/step-…/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from sensorium.training import checkpoint, distributed, optim, randomness
from sensorium.training.run import Run, TrainingError

RECORDS = ("checkpoints", "history.jsonl", "metrics.json", "preflight.txt", "tensorboard")


def open_folder(run: Run, resume: bool) -> Path | None:
    """Make the run's folder ready; returns the checkpoint to go on from, None to start at step 0.

    resume=False with an earlier run in the folder: its records move to previous-1, previous-2, …; nothing is
    deleted.
    Raises TrainingError when the folder cannot be written.
    """
    folder = Path(run.folder)
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable.part"
        probe.write_bytes(b"x")
        probe.unlink()
        checkpoint.discard_unfinished(folder / "checkpoints")
        found = checkpoint.finished(folder / "checkpoints")
        if found and not resume:
            number = 1
            while (folder / f"previous-{number}").exists():
                number += 1
            (folder / f"previous-{number}").mkdir()
            for name in RECORDS:
                if (folder / name).exists():
                    (folder / name).rename(folder / f"previous-{number}" / name)
            (folder / "checkpoints").mkdir()
            return None
    except OSError as error:
        raise TrainingError(
            f"run {run.name!r}: cannot write to {folder}: {error.strerror}; set folder=… to one that you may "
            "write to"
        ) from error
    return found[-1][1] if found else None


def write(
    run: Run,
    step: int,
    optimizer: torch.optim.Optimizer,
    average: optim.Average | None,
    frozen: Mapping[str, Any],
    settings: Mapping[str, Any],
    card: str,
    main: bool,
) -> Path:
    """Save the run after `step` steps. All processes call it, the main one writes."""
    checkpoints = Path(run.folder) / "checkpoints"
    random_states = distributed.gather(randomness.capture())
    if not main:
        return checkpoints / f"step-{step:08d}"
    weights = checkpoint.entries(run.model).saved
    epoch, batch = divmod(step * run.accumulate, run.epoch_batches)
    state_tensors = {"optimizer.safetensors": optim.state_by_name(run.model, optimizer)}
    if average is not None:
        state_tensors["model.safetensors"] = {name: weights[name] for name in average.values}
        weights = {**weights, **average.values}
    return checkpoint.save(
        checkpoints,
        step,
        system=run.system,
        args=run.system_args,
        frozen=frozen,
        weights=weights,
        card=card,
        state_json={
            "run.json": {
                "step": step,
                "position": {"epoch": epoch, "batch": batch},
                "settings": dict(settings),
            },
            "random.json": random_states,
        },
        state_tensors=state_tensors,
        keep=run.keep,
    )


def restore(
    run: Run,
    found: Path,
    optimizer: torch.optim.Optimizer,
    average: optim.Average | None,
    settings: Mapping[str, Any],
    rank: int,
) -> int:
    """Put back what `write` saved; returns the step. Raises TrainingError when another run saved it."""
    saved = checkpoint.read_json(found / "state" / "run.json")
    check_same(run, saved["step"], saved["settings"], settings)
    weights = checkpoint.read_tensors(found / "model.safetensors")
    if average is not None:
        average.load(weights)
        weights |= checkpoint.read_tensors(found / "state" / "model.safetensors")
    checkpoint.put(weights, run.model, found / "model.safetensors")
    checkpoint.check_frozen(checkpoint.read(found), run.model, set(weights))
    optim.load_state_by_name(
        run.model, optimizer, checkpoint.read_tensors(found / "state" / "optimizer.safetensors")
    )
    randomness.restore(checkpoint.read_json(found / "state" / "random.json")[rank])
    return int(saved["step"])


def check_same(run: Run, step: int, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise TrainingError when a run's settings are not those that its checkpoint was made with."""
    changed = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if changed:
        differences = "; ".join(f"{name} was {then.get(name)!r}, now {now.get(name)!r}" for name in changed)
        settable = {field.name for field in fields(run)}
        back = [f"{name}={then.get(name)!r}" for name in changed if name in settable]
        back += [f"{then.get(name)} {name}" for name in changed if name not in settable]
        raise TrainingError(
            f"run {run.name!r} cannot go on from step {step} in {run.folder}: {differences}. To go on, use "
            f"{', '.join(back)} again; to start anew, set another folder=… or call fit(run, resume=False)"
        )
