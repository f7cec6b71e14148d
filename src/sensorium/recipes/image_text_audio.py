"""Pictures, words and speech in one space, on the bundled emoji and stamps: what the quickstart trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sensorium.data import bundled
from sensorium.data.batch import Collator
from sensorium.data.feature_cache import CachedFeatures, FeatureCache
from sensorium.data.sample import Sample
from sensorium.data.views import RandomView
from sensorium.evaluation.scores import Score, beside
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.objectives.info_nce import InfoNCE
from sensorium.recipes.bundled_tests import BundledTests
from sensorium.recipes.closed_form import remember, start_from_closed_form, to_remember
from sensorium.systems.image_text_audio import image_text_audio as system
from sensorium.training.run import Run
from sensorium.weights import cache_folder

# Pictures are seen on three grounds: an encoder that never saw a black one takes the ground for part of the thing.
GROUNDS = ((255, 255, 255), (0, 0, 0), (128, 128, 128))
# Spoken sentences are heard at five speeds: there is one speaker of each, and 720 sentences.
SPEEDS = (1.0, 0.9, 0.95, 1.05, 1.1)
WAYS: dict[str, list[dict[str, Any]]] = {
    "image": [{"ground": ground} for ground in GROUNDS],
    "audio": [{"speed": speed} for speed in SPEEDS],
}
SPOKEN = 5  # times that a spoken sentence stands among the data, so that a batch tells some 400 apart


def image_text_audio(
    folder: Path = Path("runs/image_text_audio"),
    rank: int = 600,
    size: int = 224,
    epochs: float = 10,
    batch_size: int = 1024,
    lr: float = 3e-4,
    speech_lr: float = 2e-3,
    seed: int = 0,
    language: str | None = "fr",
    limit: int | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> Run:
    """Align pictures, words and speech from the closed form on (LiT, arXiv:2111.07991; SINCERE, arXiv:2309.14277).

    The trained heads also recall training examples (Tip-Adapter, arXiv:2111.03930).

    Command: sensorium train image_text_audio
    Hardware and time: 2 CPU cores, about four minutes the first time, seconds once the features are cached.
    Expected: emoji by an unseen artist, text to image R@1 about 0.73 (chance 0.0007); see docs/results.md.

    Args:
        folder: Where the run is written.
        rank: Width of the space.
        size: Side of the pictures in pixels.
        epochs: Times that every training picture is seen.
        batch_size: Rows that are told apart at once.
        lr: Peak learning rate of the heads of pictures and words.
        speech_lr: The same of the head of speech, which has fewer examples and drops most coordinates out.
        seed: Of the order of the data and the views drawn.
        language: Of the spoken descriptions; None leaves speech out: what two modalities reach.
        limit: Use so many records of every set, for a quick look.
        cache: Folder of the feature cache.
        progress: Show the preflight and progress bars.
    """
    torch.manual_seed(seed)
    samples = training_samples(language)
    if limit is not None:
        samples = _spread(samples, limit)
        rank = min(rank, len({sample.meanings[-1] for sample in samples}) - 1)  # captions span no more
    system_args = {"rank": rank, "size": size, "remembered": to_remember(samples), "statistics": True}
    model = system(**system_args)  # type: ignore[arg-type]
    features = FeatureCache(cache or cache_folder() / "features")
    views = cached_views(model, features, samples, progress)
    alignment = start_from_closed_form(model, samples, views)
    tests = BundledTests.prepare(model, features, language=language, limit=limit, progress=progress)
    closed_form = tests.scores(model)
    remember(model, samples, views, alignment)  # after the closed form, which is scored without a memory

    def evaluate(trained: torch.nn.Module) -> dict[str, Score]:
        return beside(tests.scores(trained), closed_form)

    untrained = [f"heads.{column}" for column in model.columns if column not in views]
    rows = uneven_pairs(samples)
    cached: dict[str, CachedFeatures | RandomView] = {
        column: RandomView(found) if len(found) > 1 else found[0] for column, found in views.items()
    }
    return Run(
        name="image_text_audio",
        folder=folder,
        system="image_text_audio",
        system_args=system_args,
        model=model,
        data=range(len(rows)),
        collate=Collator(model.by_column, cached=cached, samples=rows),
        objectives=[InfoNCE(anchors=("image", "text"))],
        freeze=["encoders.*", "heads.*.canonical", "log_scale", *untrained],
        batch_size=min(batch_size, len(rows)),
        epochs=epochs,
        lr=lr,
        part_lr={"heads.audio": speech_lr} if "audio" in views else {},
        weight_decay=0.0,
        schedule="cosine",
        warmup=0.1,
        precision="fp32",
        seed=seed,
        evaluate=evaluate,
        data_card=data_card(len(samples), language),
        progress=progress,
    )


def data_card(samples: int, language: str | None) -> str:
    spoken = "" if language is None else f" and, for the stamps, descriptions spoken in '{language}'"
    return (
        f"{samples} training pictures: emoji by four artists (datasets/emoji, licences of the artists) and stamps "
        f"(datasets/stamps, GPL-2) with English captions{spoken}. "
        "Tested on an artist and on things that were never trained on."
    )


def training_samples(language: str | None) -> list[Sample]:
    """The train splits of both sets, less the records whose caption names a thing that either set tests as unseen."""
    unseen = [*bundled.emoji("unseen_thing"), *bundled.stamps("test", None)]
    tested = {meaning for sample in unseen for meaning in sample.meanings}
    samples = [*bundled.emoji("train", bundled.TRAIN_ARTISTS), *bundled.stamps("train", language)]
    return [sample for sample in samples if tested.isdisjoint(sample.meanings)]


def uneven_pairs(samples: list[Sample]) -> list[Sample]:
    """Every picture with its words, and every spoken sentence with its words alone, `SPOKEN` times.

    Trained towards its words alone, a sentence finds words and pictures better than trained towards its picture, too
    (docs/results.md).
    """

    def without(sample: Sample, column: str) -> Sample:
        return replace(sample, columns={name: m for name, m in sample.columns.items() if name != column})

    spoken = [without(sample, "image") for sample in samples if "audio" in sample.columns]
    return [without(sample, "audio") for sample in samples] + spoken * SPOKEN


def cached_views(
    model: JointEmbedding, cache: FeatureCache, samples: list[Sample], progress: bool
) -> dict[str, list[CachedFeatures]]:
    """By column, the cached features of the training records: pictures on each ground, words, speech at each speed."""
    views: dict[str, list[CachedFeatures]] = {}
    for column, encoder in model.by_column.items():
        if not any(column in sample.columns for sample in samples):
            continue
        views[column] = [
            cache.of_samples(encoder, samples, column, decoding=way, progress=progress)
            for way in WAYS.get(column, [{}])
        ]
    return views


def _spread(samples: list[Sample], limit: int) -> list[Sample]:
    """`limit` records, evenly spread over all."""
    return [
        samples[row] for row in torch.linspace(0, len(samples) - 1, min(limit, len(samples))).long().tolist()
    ]
