"""SigLIP from random weights on the bundled emoji: `recipes/clip.py` with another system and objective."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from sensorium.data.batch import Collator
from sensorium.encoders.text import MINILM
from sensorium.objectives.siglip import SigLIP
from sensorium.recipes.clip import clip
from sensorium.systems.siglip import siglip as system
from sensorium.training.run import Run


def siglip(
    folder: Path = Path("runs/siglip"),
    size: str = "tiny",
    epochs: float = 14,
    batch_size: int = 256,
    lr: float = 1e-3,
    seed: int = 0,
    tokenizer: str = MINILM,
    limit: int | None = None,
    progress: bool = True,
) -> Run:
    """Two towers from random weights, a yes or no for each pair (Zhai et al. 2023, arXiv:2303.15343).

    Command: sensorium train siglip
    Hardware and time: 2 CPU cores; longer than `clip`, since every text is padded to 64 tokens.
    Expected: the full run was not measured. After 2 epochs it is still at its blind baseline (unseen artist,
    text to image R@10 0.7 %, blind 0.7; `clip`, with somewhat stronger augmentation, had 2.2): a yes or no for
    each pair starts slowly.

    Args:
        folder: Where the run is written.
        size: Of the system, one of systems/siglip.py; "tiny" is meant for a CPU.
        epochs: Times that every training picture is seen, never twice the same.
        batch_size: Rows that are told apart at once.
        lr: Peak learning rate.
        seed: Of the random weights, the order of the data and the windows drawn.
        tokenizer: Source of the tokenizer; its words get random vectors too.
        limit: Use so many records of every set, for a quick look.
        progress: Show the preflight and progress bars.
    """
    run = clip(folder, "tiny", epochs, batch_size, lr, seed, tokenizer, limit, progress)
    torch.manual_seed(seed)
    model = system(size, tokenizer)
    theirs = run.collate
    assert isinstance(theirs, Collator)
    return replace(
        run,
        name="siglip",
        system="siglip",
        system_args={"size": size, "tokenizer": tokenizer},
        model=model,
        collate=Collator(model.by_column, augment=theirs.augment, samples=theirs.samples),
        objectives=[SigLIP()],
    )
