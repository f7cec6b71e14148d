"""CLIP from random weights on the bundled emoji: both towers learn, pictures are drawn anew every step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from sensorium.data import bundled
from sensorium.data.batch import Collator
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.sample import Sample
from sensorium.encoders.text import MINILM
from sensorium.evaluation.scores import Score
from sensorium.media import Source
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.objectives.info_nce import InfoNCE
from sensorium.recipes.bundled_tests import BundledTests
from sensorium.systems.clip import clip as system
from sensorium.training.run import Run

TESTED = ("emoji.unseen_artist", "emoji.unseen_things")
ZOOM = (0.8, 1.2)  # sides of the window, in sides of the picture
SHIFT = 0.08  # of its centre, at most, in sides of the picture


def clip(
    folder: Path = Path("runs/clip"),
    size: str = "tiny",
    epochs: float = 14,
    batch_size: int = 256,
    lr: float = 1e-3,
    seed: int = 0,
    tokenizer: str = MINILM,
    limit: int | None = None,
    progress: bool = True,
) -> Run:
    """Two towers from random weights, softmax over the batch (Radford et al. 2021, arXiv:2103.00020).

    Command: sensorium train clip
    Hardware and time: 2 CPU cores, five and a half minutes of processor time, ten on the clock where both were
    shared with other work (then set OMP_WAIT_POLICY=PASSIVE: threads that wait would take the time of others).
    Expected, in percent, with the 95 % interval and the blind baseline (the pictures shuffled), seed 0:

        an unseen artist, 1,401 drawings   text to image R@1    4.4  (3.4 …  5.4)   blind 0.1
                                           text to image R@10  26.6  (24.3 … 28.7)  blind 0.7
                                           image to text R@1    3.7  (2.8 …  4.7)   blind 0.1
                                           naming (zero-shot)   2.6  (1.8 …  3.5)   blind 0.1
        unseen things, 563 drawings        text to image R@1    9.9  (5.3 … 15.1)   blind 0.7
                                           image to text R@1    9.8  (6.7 … 13.0)   blind 0.7
                                           naming (zero-shot)  10.0  (6.5 … 14.0)   blind 0.6

    That is far below `image_text_audio`, whose encoders saw millions of pictures and texts before: this recipe
    shows how such towers begin to learn, and is the one to scale up. The loss was still falling.

    Args:
        folder: Where the run is written.
        size: Of the system, one of systems/clip.py; "tiny" is meant for a CPU.
        epochs: Times that every training picture is seen, never twice the same.
        batch_size: Rows that are told apart at once.
        lr: Peak learning rate.
        seed: Of the random weights, the order of the data and the windows drawn.
        tokenizer: Source of the tokenizer; its words get random vectors too.
        limit: Use so many records of every set, for a quick look.
        progress: Show the preflight and progress bars.
    """
    torch.manual_seed(seed)
    model = system(size, tokenizer)
    samples = training_samples(limit)
    return Run(
        name="clip",
        folder=folder,
        system="clip",
        system_args={"size": size, "tokenizer": tokenizer},
        model=model,
        data=range(len(samples)),
        collate=Collator(model.by_column, augment={"image": seen_anew}, samples=samples),
        objectives=[InfoNCE()],
        batch_size=min(batch_size, len(samples)),
        epochs=epochs,
        lr=lr,
        weight_decay=0.2,
        warmup=0.1,
        seed=seed,
        evaluate=lambda trained: scores(trained, limit),
        data_card=DATA_CARD.format(samples=len(samples)),
        progress=progress,
    )


DATA_CARD = (
    "{samples} emoji by four artists (datasets/emoji, licences of the artists) with their English names. "
    "Tested on an artist and on things that were never trained on."
)


def training_samples(limit: int | None) -> list[Sample]:
    """The train split by four artists, its pictures decoded once (0.3 GB, at most 160 pixels a side)."""
    samples = bundled.emoji("train", bundled.TRAIN_ARTISTS)
    if limit is not None:
        samples = samples[:: max(1, len(samples) // limit)][:limit]
    decoded = []
    for sample in samples:
        source = sample.columns["image"]
        assert isinstance(source, Source)
        decoded.append(replace(sample, columns={**sample.columns, "image": source.decode()}))
    return decoded


def seen_anew(picture: np.ndarray) -> np.ndarray:
    """uint8[H, W, 3] -> uint8[h, w, 3]: a random window of the picture's own shape, white beyond the edge.

    The paper (§2.4) crops squares; what is drawn to the edge would lose its ends so. Nothing is mirrored: an
    arrow, a letter or a hand would get the name of another.
    """
    zoom = np.random.uniform(*ZOOM)
    sides = [round(zoom * length) for length in picture.shape[:2]]
    window = np.full((*sides, 3), 255, np.uint8)
    ours, theirs = [], []
    for length, side in zip(picture.shape[:2], sides):
        start = round((length - side) / 2 + np.random.uniform(-SHIFT, SHIFT) * length)
        first, last = max(0, start), min(length, start + side)
        ours.append(slice(first - start, last - start))
        theirs.append(slice(first, last))
    window[tuple(ours)] = picture[tuple(theirs)]
    return window


def scores(model: torch.nn.Module, limit: int | None) -> dict[str, Score]:
    """Retrieval and zero-shot naming of the bundled emoji that were not trained on."""
    assert isinstance(model, JointEmbedding)
    with TemporaryDirectory() as passing:  # features of weights that are still learning serve nobody later
        tests = BundledTests.prepare(model, FeatureCache(passing), TESTED, limit=limit, progress=False)
        return tests.scores(model)
