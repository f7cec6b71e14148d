"""Your own media in one space: the laptop's system, its heads trained on a folder or table of yours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from sensorium.data.batch import Collator
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.quarantine import Quarantine
from sensorium.data.readers import read
from sensorium.data.sample import Sample
from sensorium.evaluation.retrieval import Embedded, between
from sensorium.evaluation.scores import Score, beside
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.objectives.info_nce import InfoNCE
from sensorium.recipes.closed_form import start_from_closed_form
from sensorium.systems.image_text_audio import image_text_audio
from sensorium.training.run import Run
from sensorium.weights import cache_folder

FEWEST = 20  # records below which neither training nor a test set means anything


def joint_embedding(
    source: Path,
    folder: Path = Path("runs/joint_embedding"),
    rank: int = 300,
    epochs: float = 10,
    batch_size: int = 512,
    lr: float = 3e-4,
    held_out: float = 0.2,
    seed: int = 0,
    progress: bool = True,
) -> Run:
    """Align the pictures, clips, captions and recordings of your own data, from the closed form on.

    Command: sensorium train joint_embedding --source my/pictures
    Hardware and time: 2 CPU cores; some 200 pictures a second once, then seconds.
    Expected: depends on the data; the blind baseline and the closed form are printed beside every score.

    Args:
        source: A folder (captions beside the files as .txt), .jsonl, .csv, .parquet or .tar.
        folder: Where the run is written.
        rank: Width of the space; less than the number of records that are trained on.
        epochs: Times that every record is seen.
        batch_size: Rows that are told apart at once.
        lr: Peak learning rate.
        held_out: Share of the records that are tested on, by meaning: equal captions stay together.
        seed: Of the order of the data and of what is held out.
        progress: Show the preflight and progress bars.
    """
    torch.manual_seed(seed)
    by_modality = [one_column_a_modality(sample) for sample in read(source)]
    samples = [sample for sample in by_modality if len(sample.columns) > 1]
    if len(samples) < FEWEST:
        raise ValueError(
            f"{source}: got {len(samples)} records with two modalities or more; expected at least {FEWEST}. Put a "
            "caption beside each file (x.jpg and x.txt), or give a table with a column for each modality"
        )
    train, test = split(samples, held_out, seed)
    args: dict[str, Any] = {
        "rank": min(rank, len({sample.meanings for sample in train}) - 1),
        "statistics": True,
    }
    if any("video" in sample.columns for sample in samples):
        args["video"] = True
    model = image_text_audio(**args)
    cache, quarantine = FeatureCache(cache_folder() / "features"), Quarantine(folder / "quarantine.jsonl")
    columns = [column for column in model.columns if any(column in sample.columns for sample in train)]
    encoders: dict[str, Any] = dict(model.encoders.items())
    cached = {
        column: cache.of_samples(encoders[column], samples, column, quarantine=quarantine, progress=progress)
        for column in columns
    }
    untrained = [column for column in model.columns if column not in columns]
    start_from_closed_form(model, train, {column: [found] for column, found in cached.items()})

    def scores(model: torch.nn.Module) -> dict[str, Score]:
        assert isinstance(model, JointEmbedding)
        embedded = {}
        for column, found in cached.items():
            rows = [(row, sample) for sample in test if (row := found.row(sample.id)) is not None]
            if rows:
                with torch.no_grad():
                    vectors = model.embed(column, found[[row for row, _ in rows]]).numpy()
                embedded[column] = Embedded(vectors, [sample.meanings for _, sample in rows])
        return between(embedded)

    closed_form = scores(model)
    return Run(
        name="joint_embedding",
        folder=folder,
        system="image_text_audio",
        system_args=args,
        model=model,
        data=range(len(train)),
        collate=Collator(model.by_column, cached=cached, samples=train),
        objectives=[InfoNCE()],
        freeze=["encoders.*", "heads.*.canonical", "log_scale", *(f"heads.{column}" for column in untrained)],
        batch_size=min(batch_size, len(train)),
        epochs=epochs,
        lr=lr,
        weight_decay=0.0,
        warmup=0.1,
        precision="fp32",
        seed=seed,
        evaluate=lambda trained: beside(scores(trained), closed_form),
        data_card=f"{len(train)} records of {source}; {len(test)} held out",
        progress=progress,
    )


def one_column_a_modality(sample: Sample) -> Sample:
    """The record with its columns named by modality, the first of each: what the system's encoders are called."""
    columns: dict[str, Any] = {}
    for name, media in sample.columns.items():
        columns.setdefault(sample.modality[name], media)
    return Sample(sample.id, columns, {m: m for m in columns}, sample.meanings, sample.fields)


def split(samples: list[Sample], held_out: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """(train, test): records that share a meaning, also through a third record, lie on one side."""
    number = {key: n for n, key in enumerate(dict.fromkeys(key for s in samples for key in s.meanings))}
    rows = [row for row, sample in enumerate(samples) for _ in sample.meanings]
    columns = [number[key] for sample in samples for key in sample.meanings]
    has = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(samples), max(1, len(number))))
    groups, group_of = connected_components(has @ has.T, directed=False)
    order = torch.randperm(groups, generator=torch.Generator().manual_seed(seed))
    held = set(order[: round(held_out * groups)].tolist())
    train = [sample for sample, group in zip(samples, group_of, strict=True) if group not in held]
    return train, [sample for sample, group in zip(samples, group_of, strict=True) if group in held]
