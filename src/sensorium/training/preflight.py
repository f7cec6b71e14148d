"""The check before take-off: fail loudly, in seconds, on what would otherwise show after hours.

    model, data, objectives ──► parameters by part, one batch, one sample, losses, gradients ──► Preflight |
    TrainingError

It runs one forward and backward pass (a few, where the first batch lacks a modality) and leaves the model,
its buffers and every random state as it found them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.data.batch import Collator
from sensorium.data.sample import Batch
from sensorium.data.tokens import TokenBatch
from sensorium.objectives.supervised import Supervised
from sensorium.training import describe, distributed, optim, preflight_tokens
from sensorium.training.adaptation import parts, set_training, untouched
from sensorium.training.losses import WeightedLosses
from sensorium.training.order import Batches, Place, Places
from sensorium.training.randomness import preserved
from sensorium.training.run import Run, TrainingError

DRAWS = 4  # batches drawn at most until every trainable parameter has had a gradient
PAIR_ROWS = 2048  # rows of a global batch whose pairs are counted


@dataclass(frozen=True)
class Part:
    """One row of the parameter table. rates: the peak learning rates in it, lowest first."""

    name: str
    parameters: int
    trainable: int
    rates: tuple[float, ...]
    source: str


@dataclass(frozen=True)
class Preflight:
    """What was found.

    batch:         the first batch in words: ids, columns, present counts, shapes, positives
    before, after: the first sample as the data give it, and as the model gets it
    losses:        of the first batch, before the first step
    zero_gradient: trainable parameters whose gradient was exactly zero (fine for what starts at zero, e.g.
                   LoRA)
    """

    parts: tuple[Part, ...]
    batch: str
    before: str
    after: str
    losses: dict[str, float]
    zero_gradient: tuple[str, ...]

    def table(self) -> str:
        """Parameters by part."""
        rows = [("part", "parameters", "trainable", "learning rate", "source")]
        for part in self.parts:
            rates = ", ".join(f"{rate:g}" for rate in part.rates) or "frozen"
            rows.append((part.name, f"{part.parameters:,}", f"{part.trainable:,}", rates, part.source))
        total, learning = sum(p.parameters for p in self.parts), sum(p.trainable for p in self.parts)
        rows.append(("total", f"{total:,}", f"{learning:,}", f"{learning / max(1, total):.1%} trainable", ""))
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if column in (1, 2) else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths))
            ).rstrip()
            for row in rows
        )

    def __str__(self) -> str:
        losses = ", ".join(f"{name} {value:.4f}" for name, value in self.losses.items())
        text = (
            f"{self.table()}\n\nfirst batch\n{self.batch}\n\nfirst sample, as the data give "
            f"it\n{self.before}\n\nfirst sample, as the model gets it\n{self.after}\n\nlosses before the "
            f"first step: {losses}"
        )
        if self.zero_gradient:
            some = ", ".join(self.zero_gradient[:4]) + (" …" if len(self.zero_gradient) > 4 else "")
            text += (
                f"\nnote: the gradient of {len(self.zero_gradient)} parameters is zero at the start: {some}"
            )
        return text


def preflight(run: Run, autocast: torch.dtype | None = None, rank: int = 0, ranks: int = 1) -> Preflight:
    """Check a run whose model is frozen as it will be and stands on its device. Raises TrainingError.

    autocast: the type that the forward pass computes in, None for the weights' own
    Under several processes all of them call it, each with its share of the batches.
    """
    table = _parts(run)
    losses = WeightedLosses(run.model, run.objectives, run.weights, autocast, anchored=False)
    with preserved(), untouched(run.model):
        set_training(run.model)
        batches = Batches(run.data, run.collate, run.seed)
        places = iter(Places(run.order, run.seed, len(run.data), run.batch_size, 0, rank, ranks))
        place, batch = _draw(batches, places, run)
        # Labels need no rows to compare: such a batch may hold one column a row, or one meaning.
        supervised = all(isinstance(objective, Supervised) for objective in run.objectives)
        pairs = "" if supervised else _pairs(batch, ranks)
        items = [batches.item(place.epoch, place.rows[0])]
        if isinstance(batch, TokenBatch):
            items = [batches.item(place.epoch, row) for row in place.rows]
            preflight_tokens.check(run.model, batch, run.collate, items)
        total, named = losses(batch)
        _check_losses(total, named, describe.ids(batch, place.rows))
        total.backward()
        missing, zero = _gradients(run.model)
        for _ in range(min(DRAWS, run.epoch_batches) - 1):
            if not missing | zero:
                break
            _, other = _draw(batches, places, run)
            total, found = losses(other)
            if found:
                total.backward()
            missing, zero = _gradients(run.model)
        _check_gradients(run.model, missing, zero, min(DRAWS, run.epoch_batches))
        before, after, summary = _shown(run, batch, place, items)
    return Preflight(
        table,
        summary + pairs,
        before,
        after,
        {name: float(value) for name, value in named.items()},
        tuple(sorted(zero)),
    )


def _shown(run: Run, batch: Any, place: Place, items: list[Any]) -> tuple[str, str, str]:
    """The first sample before and after preparation, and its batch, in words."""
    if isinstance(batch, TokenBatch):
        before, after = preflight_tokens.first_sample(run.model, run.collate, items)
        return before, after, preflight_tokens.summary(batch)
    item = items[0]
    if isinstance(run.collate, Collator) and run.collate.samples is not None and isinstance(item, int):
        item = run.collate.samples[item]
    return describe.sample(item), describe.first_row(batch), describe.batch(batch, place.rows)


def _parts(run: Run) -> tuple[Part, ...]:
    learning = optim.trainable(run.model)
    if not learning:
        raise TrainingError(
            f"run {run.name!r}: nothing to train, all {sum(1 for _ in run.model.parameters())} parameters "
            f"are frozen; freeze={list(run.freeze)!r} must leave some, or thaw them with a pattern like "
            "'!heads.*'"
        )
    rates = optim.peak_rates(run.model, run.lr, run.part_lr)
    parameters = dict(run.model.named_parameters())
    modules = dict(run.model.named_modules(remove_duplicate=False))
    table = []
    for part, names in parts(run.model).items():
        own = [name for name in names if name in learning]
        table.append(
            Part(
                part,
                sum(parameters[name].numel() for name in names),
                sum(parameters[name].numel() for name in own),
                tuple(sorted({rates[parameters[name]][1] for name in own})),
                _shortened(str(getattr(modules.get(part), "source", None) or "")),
            )
        )
    return tuple(table)


def _shortened(source: str) -> str:
    """A source in a table: its middle left out when it is long."""
    return source if len(source) <= 60 else f"{source[:36]}…{source[-23:]}"


def _draw(batches: Batches, places: Iterator[Place], run: Run) -> tuple[Place, Any]:
    place, drawn = batches[next(places)]
    return place, distributed.to_device(drawn, next(run.model.parameters()).device)


def _pairs(batch: Any, ranks: int) -> str:
    """What the global batch offers to compare, in words. Raises TrainingError when it offers nothing.

    Only a `Batch` with meanings and two or more columns is judged.
    """
    if not isinstance(batch, Batch) or len(batch.columns) < 2:
        return ""
    meanings = [row for rows in distributed.gather(batch.meanings.tolist()) for row in rows][:PAIR_ROWS]
    present = {
        name: [has for share in distributed.gather(column.present.tolist()) for has in share][:PAIR_ROWS]
        for name, column in batch.columns.items()
    }
    positives = positive_rows(meanings)
    columns = torch.tensor(list(present.values()), dtype=torch.float32).T  # [B, C]
    paired = ((positives.float() @ columns) > 0).sum(1) >= 2
    if not paired.any():
        counts = ", ".join(f"{name} {sum(has)}" for name, has in present.items())
        raise TrainingError(
            f"no pairs: in none of the first batch's {len(meanings)} rows do two columns meet, in the row "
            f"itself or in rows of one meaning (rows with {counts}); bring rows that have two columns, or "
            "mix the data sets"
        )
    if len(meanings) > 1 and positives.all():
        raise TrainingError(
            f"one meaning: all {len(meanings)} rows of the first batch are positives of each other, nothing "
            "is left to tell apart; check the meanings of the samples, shuffle the data, or raise batch_size"
        )
    others = (positives.sum(1) > 1).float().mean()
    return (
        f"\npositives: {paired.float().mean():.0%} of the rows have one in another column, "
        f"{others:.0%} share their meaning with another row"
    )


def positive_rows(meanings: list[list[int]]) -> Tensor:
    """bool[B, B]: which rows share an id ≥ 0; a row is always its own positive."""
    known = {
        meaning: place for place, meaning in enumerate(sorted({m for row in meanings for m in row if m >= 0}))
    }
    member = torch.zeros(len(meanings), max(1, len(known)))
    for row, ids in enumerate(meanings):
        for meaning in ids:
            if meaning >= 0:
                member[row, known[meaning]] = 1
    return ((member @ member.T) > 0) | torch.eye(len(meanings), dtype=torch.bool)


def _check_losses(total: Tensor, named: dict[str, Tensor], ids: str) -> None:
    if not named:
        raise TrainingError(
            f"no loss: the objectives found nothing to compare in the first batch ({ids}); it needs rows "
            "that have the columns they compare"
        )
    bad = [f"{name} = {value.item()}" for name, value in named.items() if not value.isfinite()]
    if bad:
        raise TrainingError(
            f"the loss is not finite before the first step: {', '.join(bad)} for {ids}; look for zeros, NaN "
            "or missing values in these samples, or set precision='fp32'"
        )
    if not total.requires_grad:
        raise TrainingError(
            f"the loss ({', '.join(named)}) does not depend on anything that learns; check freeze=…, a "
            "detach() or a no_grad() in the model or the objective"
        )


def _gradients(model: nn.Module) -> tuple[set[str], set[str]]:
    """The trainable parameters that no process has a gradient for; and those whose gradients are all zero."""
    learning = optim.trainable(model)
    reached = {name: bool(p.grad.any()) for name, p in learning.items() if p.grad is not None}
    everywhere = distributed.gather(reached)
    missing = {name for name in learning if not any(name in there for there in everywhere)}
    return missing, {name for name in learning if not any(there.get(name) for there in everywhere)} - missing


def _check_gradients(model: nn.Module, missing: set[str], zero: set[str], draws: int) -> None:
    if missing:
        listed = [
            part if missing.issuperset(own) else ", ".join(name for name in own if name in missing)
            for part, names in parts(model).items()
            if missing.intersection(own := [name for name in names if name in optim.trainable(model)])
        ]
        raise TrainingError(
            f"no gradient reaches {len(missing)} trainable parameters in {draws} batches: "
            f"{'; '.join(listed)}; freeze them (freeze=[…]), or give data and an objective that use them"
        )
    if zero == set(optim.trainable(model)):
        raise TrainingError(
            "the gradient of every trainable parameter is exactly zero: the loss cannot be lowered; a "
            "contrastive loss needs at least two rows that have both columns and differ in meaning "
            "(batch_size, meanings, objective)"
        )
