"""A run's newest checkpoint -> weights/<name>: model.safetensors in bfloat16, the card, the log and the scores.

    python tools/ship_checkpoint.py runs/scene_questions weights/smol_llava

What the run was trained from stands in its log; frozen parts stay references to where they came from.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
import tyro
from safetensors.torch import load_file, save_file

from sensorium.training.checkpoint import find


def ship(run: tyro.conf.Positional[Path], target: tyro.conf.Positional[Path]) -> None:
    """Copy what using the model needs, and what says how it was made.

    Args:
        run: Folder of a finished run.
        target: Folder to write.
    """
    checkpoint = find(run)
    target.mkdir(parents=True, exist_ok=True)
    tensors = load_file(checkpoint / "model.safetensors")
    half = {name: t.to(torch.bfloat16) if t.is_floating_point() else t for name, t in tensors.items()}
    save_file(half, target / "model.safetensors")
    for name in ("system.json", "README.md"):
        shutil.copyfile(checkpoint / name, target / name)
    for name in ("history.jsonl", "metrics.json", "preflight.txt"):
        shutil.copyfile(run / name, target / name)
    (target / "model.safetensors").chmod(0o644)
    size = (target / "model.safetensors").stat().st_size
    scores = json.loads((target / "metrics.json").read_text("utf-8"))
    print(f"{target}: {size / 2**20:.1f} MiB, {len(half)} tensors, {len(scores)} scores")


if __name__ == "__main__":
    tyro.cli(ship)
