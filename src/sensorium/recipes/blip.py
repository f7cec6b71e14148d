"""BLIP on the bundled drawings, or on your own: contrast, matching and captioning at once, over a frozen encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sensorium.data import bundled
from sensorium.data.batch import Collator
from sensorium.data.feature_cache import CachedFeatures, FeatureCache
from sensorium.data.quarantine import Quarantine
from sensorium.data.readers import read
from sensorium.data.sample import Sample
from sensorium.data.trained_tokenizer import as_json, word_pieces
from sensorium.models.encoder_decoder import EncoderDecoder
from sensorium.objectives.image_text import ImageText
from sensorium.recipes.blip_tests import Tested, all_scores
from sensorium.recipes.joint_embedding import FEWEST, one_column_a_modality, split
from sensorium.systems.blip import blip as system
from sensorium.training.checkpoint import load_weights
from sensorium.training.checkpoint import read as read_checkpoint
from sensorium.training.run import Run
from sensorium.weights import cache_folder


def blip(
    source: tuple[Path, ...] = (),
    folder: Path = Path("runs/blip"),
    start: Path | None = None,
    size: str = "light",
    queue: int = 0,
    stamps: bool = False,
    steps: int = 1000,
    batch_size: int = 64,
    lr: float = 1.5e-3,
    held_out: float = 0.1,
    seed: int = 0,
    words: int = 2000,
    tokenizer: str = "",
    limit: int | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> Run:
    """One transformer of words in three modes: which belong together, is this right, what is this (BLIP).

    Paper: Li et al. 2022, arXiv:2201.12086
    Command: sensorium train blip
    Hardware and time: one CPU core, three and a half minutes once the pictures' tokens are cached.
    Expected, in percent, with the 95 % interval and the blind baseline (the pictures shuffled), seed 0, on an unseen
    artist's 1,401 drawings:

        text to image R@1   31.8  (29.3 … 34.2)  blind 0.1      looked at again by the matching  31.0 (28.6 … 33.3)
        text to image R@10  73.4  (71.0 … 75.7)  blind 0.8
        image to text R@1   30.3  (28.1 … 32.9)  blind 0.1      looked at again by the matching  29.5 (27.2 … 31.8)
        captions that are the name   14.3  (12.6 … 16.1)  shuffled 2.1, the commonest name 0.1

    All three losses are learned: on training pictures the matching falls from 0.64, the entropy of its labels, to 0.15.
    That looking again by it improves the order of the vectors is not shown.

    With size="light" the pictures are seen by EfficientNet-Lite0, pretrained and frozen, whose tokens are computed
    once; the transformer of words (three layers, 128 wide) starts at random. A ViT from random weights ("tiny") learns
    little from so few drawings in so few minutes.

    Args:
        source: Folders or tables of pictures and captions of your own; none: the bundled emoji by four artists.
        folder: Where the run is written.
        start: A checkpoint of the same size to begin with.
        size: Of the system, one of systems/blip.py.
        queue: Rows that a momentum copy remembers as further negatives; 0: the batch alone.
        stamps: Also learn from the bundled stamps, whose captions are sentences.
        steps: Optimiser steps.
        batch_size: Pairs a step.
        lr: Peak learning rate.
        held_out: Share of your own records that is tested on, by caption; 0: none, the test is the bundled emoji by
            an artist never seen.
        seed: Of the random weights, the order of the data, the negatives and what is held out.
        words: Of the vocabulary, learned from the training captions.
        tokenizer: Source of a tokenizer to take instead; its words get random vectors.
        limit: Use so many records of every set, for a quick look.
        cache: Folder of the feature cache.
        progress: Show the preflight and progress bars.
    """
    torch.manual_seed(seed)
    if source:
        train, test = split(your_own(source, limit), held_out, seed)
    else:
        train, test = drawings(bundled.TRAIN_ARTISTS, stamps, limit), []
    known: Any = tokenizer or (None if start is None else read_checkpoint(start).args["tokenizer"])
    known = known or as_json(word_pieces([str(sample.columns["text"]) for sample in train], words))
    args: dict[str, Any] = {"size": size, "tokenizer": known, "queue": queue}
    model = system(**args)
    if start is not None:
        load_weights(start, model)
    name = "held_out" if test else "emoji.unseen_artist"
    test = test or bundled.emoji("train", [bundled.UNSEEN_ARTIST])[:limit]
    cached = features(model, [*train, *test], Path(folder), cache, progress)
    tested = Tested(test, cached, [str(sample.columns["text"]) for sample in train])

    def scores(trained: torch.nn.Module) -> Mapping[str, Any]:
        assert isinstance(trained, EncoderDecoder)
        return {f"{name}.{key}": score for key, score in all_scores(trained, tested).items()}

    return Run(
        name="blip",
        folder=folder,
        system="blip",
        system_args=args,
        model=model,
        data=range(len(train)),
        collate=Collator(model.by_column, cached=cached, samples=train),
        objectives=[ImageText()],
        batch_size=min(batch_size, len(train)),
        steps=steps,
        lr=lr,
        weight_decay=0.05,
        warmup=0.1,
        seed=seed,
        save_every=100,
        evaluate=scores,
        data_card=f"{len(train)} pictures and captions of "
        + (
            ", ".join(map(str, source))
            or "bundled emoji by four artists" + stamps * " and stamps" + " (datasets/, licences there)"
        )
        + f"; {len(test)} tested on ({name})",
        progress=progress,
    )


def drawings(artists: Sequence[str], stamps: bool = False, limit: int | None = None) -> list[Sample]:
    """Bundled emoji by these artists with their English names, to train on; stamps with their captions too."""
    emoji = bundled.emoji("train", artists)
    if limit is not None:
        emoji = emoji[:: max(1, len(emoji) // limit)][:limit]
    return [*emoji, *(bundled.stamps("train", language=None)[:limit] if stamps else [])]


def your_own(sources: Sequence[Path], limit: int | None) -> list[Sample]:
    """The records of several sources that have a picture and a text. Raises ValueError when there are too few."""
    found = []
    for place, source in enumerate(sources):
        for sample in read(source):
            one = one_column_a_modality(sample)
            if {"image", "text"} <= set(one.columns):
                names = {column: column for column in ("image", "text")}
                columns = {column: one.columns[column] for column in names}
                id = sample.id if place == 0 else f"{place}/{sample.id}"
                found.append(Sample(id, columns, names, _meaning(one), sample.fields))
    if len(found) < FEWEST:
        raise ValueError(
            f"{', '.join(map(str, sources))}: got {len(found)} records with a picture and a text; expected at least "
            f"{FEWEST}. Put a caption beside each file (x.jpg and x.txt), or give a table with the columns image, text"
        )
    return found[:limit]


def _meaning(sample: Sample) -> tuple[str, ...]:
    """Equal captions mean the same, whichever column or file they are from."""
    return (f"caption:{bundled.normalised(str(sample.columns['text']))}",)


def features(
    model: EncoderDecoder, samples: Sequence[Sample], folder: Path, cache: Path | None, progress: bool
) -> dict[str, CachedFeatures]:
    """The pictures' tokens of a frozen encoder; {} where the vision learns."""
    if any(parameter.requires_grad for parameter in model.vision.parameters()):
        return {}
    quarantine = Quarantine(folder / "quarantine.jsonl")
    store = FeatureCache(cache or cache_folder() / "features")
    found = store.of_samples(
        model.vision, samples, "image", "tokens", dtype="float16", quarantine=quarantine, progress=progress
    )
    return {"image": found}
