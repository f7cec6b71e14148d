"""Labels are scarce, media are not: what rows without a label add, in four ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from sensorium.data.sample import Sample
from sensorium.objectives.column_contrast import ColumnContrast, HiddenColumn
from sensorium.objectives.pseudo_labels import PseudoLabels
from sensorium.objectives.supervised import Supervised, Term
from sensorium.recipes.few_labels_data import emoji_groups, labelled_by_words, unlabelled
from sensorium.recipes.fusion_data import FusionData, batches_of, data_of, scores_of, share_of
from sensorium.systems.fusion_network import fusion_network
from sensorium.tasks import OneOf
from sensorium.training.balance import Balanced
from sensorium.training.loop import fit
from sensorium.training.order import shuffled
from sensorium.training.run import Run

Start = Literal["none", "semi", "weak", "self"]
STARTS: tuple[Start, ...] = ("none", "semi", "weak", "self")
EMOJI_GROUPS = "emoji_groups"


def few_labels(
    task: str = EMOJI_GROUPS,
    start: Start = "none",
    labels: float = 0.01,
    kind: str = "gated",
    label: tuple[str, ...] = (),
    folder: Path = Path("runs/few_labels"),
    steps: int = 200,
    batch_size: int = 64,
    lr: float = 1e-3,
    width: int = 256,
    threshold: float = 0.9,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = True,
) -> Run:
    """Learn from a share of the labels, and from the rows without one.

    Command: sensorium train few_labels --start weak --labels 0.01 (one setting), sensorium gains few_labels (all)
    Hardware and time: 2 CPU cores; some 5,000 drawings encoded once, then about as long as plain training.
    Papers: FixMatch (arXiv:2001.07685) for semi; InfoNCE between columns and of a hidden column for self.
    Expected: accuracy on emoji_groups (other things by an unseen artist, eight groups), 200 steps in all, means of two
    seeds, `sensorium gains few_labels --seeds 2`:
        labels   none   semi   weak   self
        1 %      54.5   54.6   72.0   56.8   (40 rows)
        10 %     81.1   83.3   82.4   82.7   (some 408 rows)
        100 %    83.7   83.7   85.0   85.7   (semi is then plain training)
    The words name the group of 56 % of the rows, which is worth most where labels are few; of 40 rows the model is
    too often wrong for pseudo-labels to help. At 10 % they do.

    Args:
        task: emoji_groups (which of eight a drawing and its name belong to), a puzzle, or your own folder or table.
        start: none, semi (pseudo-labels), weak (half of the steps on labels guessed from words) or self (on no labels).
        labels: Share of the training labels that are used, of every label alike.
        kind: Of fusion: how the columns are joined.
        label: Of your own data, the field to learn.
        folder: Where the run is written.
        steps: Optimiser steps, in all.
        batch_size: Labelled rows of a step.
        lr: Peak learning rate.
        width: Of the columns where they are joined.
        threshold: Semi: from which probability a prediction becomes a label.
        seed: Of the weights' start, of the order of the data, and of which labels are used.
        cache: Folder of the feature cache.
        progress: Show the preflight and progress bars.
    """
    if not 0 < labels <= 1:
        raise ValueError(f"--labels {labels}; expected a share above 0 and up to 1, such as 0.1")
    data = emoji_groups() if task == EMOJI_GROUPS else data_of(task, label, folder=folder)
    asked = data.tasks[0]
    if not isinstance(asked, OneOf):
        raise ValueError(
            f"{task}: its task {asked.name!r} is {asked.kind}; expected one label of several (one_of)"
        )
    everything = data.samples("train")
    known = {sample.id for sample in share_of(everything, asked, labels, seed)}
    samples = [sample if sample.id in known else unlabelled(sample, asked) for sample in everything]
    system_args = {
        "encoders": data.encoders(),
        "tasks": [asked.as_json()],
        "fusion": kind,
        "width": width,
    }
    torch.manual_seed(seed)
    model = fusion_network(**system_args)  # type: ignore[arg-type]
    read: dict[str, Any] = {
        "what": "tokens" if model.fusion.reads_tokens else "pooled",
        "cache": cache,
        "progress": progress,
    }
    about = [f"{len(known)} of {len(samples)} training rows with their label"]
    common: dict[str, Any] = {
        "system": "fusion_network",
        "system_args": system_args,
        "model": model,
        "lr": lr,
        "precision": "fp32",
        "seed": seed,
        "progress": progress,
    }
    terms: list[Term] = []
    if start in ("self", "weak"):
        rows, objective, frozen = samples, Supervised([], [ColumnContrast(), HiddenColumn()]), ["heads.*"]
        if start == "weak":
            rows, right = by_words(data, asked, model, read)
            objective, frozen = Supervised([asked]), []
            about.append(
                f"{len(rows)} rows labelled by their words to start with, {right:.1%} of them rightly"
            )
        fit(
            Run(
                name=f"start: {start}",
                folder=folder / "start",
                data=range(len(rows)),
                collate=data.collator(model.by_column, "train", rows, **read),
                objectives=[objective],
                freeze=frozen,
                batch_size=min(4 * batch_size, len(rows)),
                steps=steps // 2,
                **common,
            )
        )
        about.append(f"{steps // 2} of the {steps} steps without labels")
        steps -= steps // 2
    if start == "semi" and len(known) < len(samples):  # of both kinds as many
        terms = [PseudoLabels([asked], threshold)]
        order: Any = Balanced(["known" if sample.id in known else "other" for sample in samples])
        batch = 2 * min(batch_size, len(known))
    else:
        samples = [sample for sample in samples if sample.id in known]
        order, batch = shuffled, min(batch_size, len(known))
    test = data.collator(model.by_column, "test", **read)
    return Run(
        name="few_labels",
        folder=folder,
        data=range(len(samples)),
        collate=data.collator(model.by_column, "train", samples, **read),
        objectives=[Supervised([asked], terms)],
        freeze=["!heads.*"],
        batch_size=batch,
        order=order,
        steps=steps,
        evaluate=lambda trained: scores_of(trained, test, everything),
        data_card="\n".join([data.about, *about]),
        **common,
    )


def by_words(data: FusionData, task: OneOf, model: Any, read: dict[str, Any]) -> tuple[list[Sample], float]:
    """All training rows with the label whose name is nearest to their words, and the share of them that is right."""
    columns = [column for column in model.columns if data.modality[column] == "text"]
    if not columns:
        raise ValueError(
            f"{data.name}: weak labels come from words, and it has no column of text; take another start"
        )
    encoder = model.by_column[columns[0]]
    collate = data.collator({columns[0]: encoder}, "train", **read)
    found = [batch.columns[columns[0]].inputs for batch in batches_of(collate)]
    vectors = torch.cat([one.pooled for one in found if not isinstance(one, dict)])
    return labelled_by_words(data.samples("train"), task, columns[0], encoder, vectors)
