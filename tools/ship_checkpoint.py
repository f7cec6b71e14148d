"""A run's newest checkpoint -> weights/<name>: model.safetensors in bfloat16, the card, the log and the scores.

    python tools/ship_checkpoint.py runs/scene_questions weights/smol_llava --before runs/scene_names

Frozen parts stay references to where they came from.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
import tyro
from safetensors.torch import load_file, save_file

from sensorium.training.card import score_lines
from sensorium.training.checkpoint import find, step_of


def ship(
    run: tyro.conf.Positional[Path],
    target: tyro.conf.Positional[Path],
    scores: Path | None = None,
    before: tuple[Path, ...] = (),
) -> None:
    """Copy what using the model needs, and what says how it was made.

    Args:
        run: Folder of a finished run.
        target: Folder to write.
        scores: A JSON file of `sensorium evaluate --out` in place of the run's own metrics.json.
        before: Runs that this one was started from, first to last; their logs are kept too.
    """
    checkpoint = find(run)
    target.mkdir(parents=True, exist_ok=True)
    tensors = load_file(checkpoint / "model.safetensors")
    half = {name: t.to(torch.bfloat16) if t.is_floating_point() else t for name, t in tensors.items()}
    save_file(half, target / "model.safetensors")
    shutil.copyfile(checkpoint / "system.json", target / "system.json")
    shutil.copyfile(scores or run / "metrics.json", target / "metrics.json")
    entries = json.loads((target / "metrics.json").read_text("utf-8"))
    card, step = (checkpoint / "README.md").read_text("utf-8"), step_of(checkpoint)
    before_scores, after = card.split("## Scores\n", 1)
    rest = after[after.index("\n## ") :]
    lines = "\n".join(score_lines((step, entries), step))
    (target / "README.md").write_text(f"{before_scores}## Scores\n\n{lines}\n{rest}", encoding="utf-8")
    for number, one in enumerate((*before, run), 1):
        shutil.copyfile(one / "history.jsonl", target / f"history-{number}.jsonl")
    (target / "model.safetensors").chmod(0o644)
    size = (target / "model.safetensors").stat().st_size
    print(f"{target}: {size / 2**20:.1f} MiB, {len(half)} tensors, {len(entries)} scores")


if __name__ == "__main__":
    tyro.cli(ship)
