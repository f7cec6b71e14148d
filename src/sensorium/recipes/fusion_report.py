"""What a fusion network was trained to, as one page: scores, test rows, gates, attention, the space of fused vectors.

trained network, its test rows -> FOLDER/report.html, with gates.png and embeddings.png beside it
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.data.batch import Collator
from sensorium.data.sample import Sample
from sensorium.evaluation.generated import GeneratedScore, from_entry
from sensorium.evaluation.predictions import main_metric
from sensorium.recipes.fusion_attention import attention_maps, looked_at
from sensorium.recipes.fusion_data import batches_of, groups_of
from sensorium.recipes.fusion_media import boxed, shown, thumbnail
from sensorium.tasks import AnyOf, Box, Number, OneOf, Task, iou
from sensorium.training.loop import Trained
from sensorium.viewing import gates, report, scatter
from sensorium.viewing.report import Asked, Drawing, Example, Examples, Said

SHOWN = 10  # test rows with their media
PICTURED = 400  # rows whose gates are drawn
LIKELIEST, TOLD = 3, 0.01  # labels whose probability is told, at most; and from where on
PERCENT = "\u00a0%"  # stays on the line of its number
FEWEST = 12  # vectors of which a projection says something


def fusion_report(trained: Trained, folder: Path, collate: Collator, about: str, seed: int = 0) -> Path:
    """Write the page about a trained `FusionNetwork` and return its path.

    collate: of the test rows (its `samples`), in whose batches answers are known
    about:   the data, for a reader
    """
    model: Any = trained.model
    assert collate.samples is not None
    samples, batches = list(collate.samples), batches_of(collate)
    task = model.tasks[0]
    with torch.no_grad():
        found = [model(batch) for batch in batches]
        hidden = {
            name: torch.cat([model(batch, without=[name]).outputs[task.name] for batch in batches])
            for name in (model.columns if len(model.columns) > 1 else ())
        }
    outputs = torch.cat([one.outputs[task.name] for one in found]).float()
    known = [row for row, sample in enumerate(samples) if sample.fields.get(task.field) is not None]
    rows = sorted(random.Random(seed).sample(known, min(SHOWN, len(known))))

    drawings = []
    if (drawn := _gates(folder, model, [one.fused.gates for one in found], samples, task)) is not None:
        drawings.append(drawn)
    vectors = torch.cat([torch.cat([b.pooled for b in one.fused.branches.values()], 1) for one in found])
    if (drawn := _scatter(folder, vectors, samples, task, known)) is not None:
        drawings.append(drawn)
    shares = looked_at(model, batches, task) if isinstance(task, Box) else {}
    all_scores = {name: from_entry(entry) for name, entry in trained.scores.items() if "low" in entry}
    scores = {name: one for name, one in all_scores.items() if isinstance(one, GeneratedScore)}
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return report.write(
        folder / "report.html",
        title=f"{type(model.fusion).__name__} of {', '.join(model.columns)}",
        lead=f"What it answers to {', '.join(repr(one.name) for one in model.tasks)}, and what it goes by.",
        facts={
            "data": "; ".join(line.rstrip(".") for line in about.splitlines()),
            "columns": "; ".join(
                f"{name}: {type(tower).__name__}" for name, tower in model.by_column.items()
            ),
            "fusion": f"{type(model.fusion).__name__}, width {model.fusion.width}",
            "trained parameters": f"{learned:,}",
            "steps": len(trained.steps),
            **shares,
            "checkpoint": trained.checkpoint,
        },
        history=trained.steps,
        generated={name: score for name, score in scores.items() if _told(name, model.tasks)},
        headline=[name for one in model.tasks if (name := f"{one.name}.{main_metric(one)}") in scores],
        examples=[_examples(task, samples, rows, outputs, hidden)] if rows else [],
        drawings=drawings,
        attention=attention_maps(model, collate, rows) if model.fusion.reads_tokens else [],
    )


def _told(name: str, tasks: Sequence[Task]) -> bool:
    """Whether a score stands in the table: all with every column, the main ones without some."""
    [task] = [one for one in tasks if name.startswith(f"{one.name}.")][:1]  # names of a user's may have dots
    without, _, metric = name.removeprefix(f"{task.name}.").rpartition(".")
    return not without or metric == main_metric(task)


def _examples(
    task: Task, samples: Sequence[Sample], rows: Sequence[int], outputs: Tensor, hidden: Mapping[str, Tensor]
) -> Examples:
    """Random test rows: their media, what is right, what the model says, and what it says without a column."""
    made = []
    for row in rows:
        sample, right = samples[row], samples[row].fields[task.field]
        beside = {f"without {name}": _said(task, one[row], right) for name, one in hidden.items()}
        media = [shown(sample, name) for name in sample.columns]
        if isinstance(task, Box):
            media = boxed(media, right, task.answers(outputs[row : row + 1])[0])
        asked = Asked(task.name, answer_text(right), _said(task, outputs[row], right, LIKELIEST), beside)
        made.append(Example(tuple(one for one in media if one is not None), [asked]))
    note = "Test rows drawn at random."
    if isinstance(task, Box):
        note += " Green: the right box; orange: the model's. ✓: they overlap by half or more."
    return Examples("Test rows", made, note)


def _said(task: Task, outputs: Tensor, right: Any, likeliest: int = 1) -> Said:
    """An answer with its probabilities, and whether it is right; of numbers nobody says right or wrong."""
    [answer] = task.answers(outputs[None])
    probabilities = task.probabilities(outputs[None])
    if isinstance(task, OneOf) and probabilities is not None:
        told = likeliest if task.width > 2 else 1  # of two, one says the other
        best = probabilities[0].topk(min(told, task.width))
        likely = " · ".join(
            f"{task.labels[place]}: {100 * p:.0f}{PERCENT}"
            for rank, (p, place) in enumerate(zip(best.values.tolist(), best.indices.tolist()))
            if rank == 0 or p >= TOLD
        )
        return Said(likely, answer == right)
    if isinstance(task, AnyOf) and probabilities is not None:
        each = dict(zip(task.labels, probabilities[0].tolist()))
        words = " · ".join(f"{label}: {100 * each[label]:.0f}{PERCENT}" for label in answer)
        return Said(words or "none", set(answer) == set(right))
    if isinstance(task, Box):
        overlap = float(iou(torch.tensor([answer]), torch.tensor([right]))[0])
        return Said(f"{answer_text(answer)}; overlap {100 * overlap:.0f}{PERCENT}", overlap >= 0.5)
    return Said(answer_text(answer))


def answer_text(answer: Any) -> str:
    """An answer as a reader expects it."""
    if isinstance(answer, list | tuple):
        numbers = all(isinstance(one, int | float) for one in answer) and len(answer) > 0
        return ", ".join(f"{one:.2f}" if numbers else str(one) for one in answer) or "none"
    return f"{answer:.3g}" if isinstance(answer, float) else str(answer)


def labels_for(task: Task, samples: Sequence[Sample]) -> list[str]:
    """By row a word to colour or sort it by: its label, its rarest label, the fifth its number is in, its quarter."""
    answers = [sample.fields.get(task.field) for sample in samples]
    if isinstance(task, Box):
        return [
            "unknown"
            if box is None
            else f"{'upper' if box[1] < 0.5 else 'lower'} {'left' if box[0] < 0.5 else 'right'}"
            for box in answers
        ]
    names: dict[Any, str] = {None: "unknown"}
    if isinstance(task, Number):
        names |= dict(enumerate(("lowest fifth", "low", "middle", "high", "highest fifth")))
    return [names.get(group, str(group)) for group in groups_of(samples, task)]


def _gates(
    folder: Path, model: Any, found: Sequence[Tensor | None], samples: Sequence[Sample], task: Task
) -> Drawing | None:
    """gates.png; None where a fusion has no gates, or the same for every row."""
    values = [one for one in found if one is not None]
    if not values or len(model.columns) < 2:
        return None
    taken = torch.cat(values).float().numpy()[:PICTURED]
    if np.ptp(taken, axis=0).max() < 1e-6:
        return None
    rows = samples[:PICTURED]
    pictures = [thumbnail(sample) for sample in rows]
    path = gates.save(
        folder / "gates.png",
        gates.Gates(
            type(model.fusion).__name__.lower(),
            model.columns,
            taken,
            labels_for(task, rows),
            pictures if any(picture is not None for picture in pictures) else (),
        ),
    )
    note = "How much the fusion takes of each column. What a gate lets through is not yet what it is worth."
    return Drawing("Gates", path, "gates by row and by label", note)


def _scatter(
    folder: Path, vectors: Tensor, samples: Sequence[Sample], task: Task, known: Sequence[int]
) -> Drawing | None:
    """embeddings.png: the fused vectors of rows with an answer."""
    labels = labels_for(task, [samples[row] for row in known])
    if len(known) < FEWEST:
        return None
    methods = tuple(
        one for one in scatter.panels() if one != "lda" or 1 < len(set(labels)) < len(labels) // 2
    )
    path = scatter.save(
        folder / "embeddings.png", vectors[list(known)].float().numpy(), labels, methods=methods
    )
    note = "What the heads read of the test rows, coloured by the right answer."
    return Drawing("Fused vectors", path, "fused vectors by several projections", note)
