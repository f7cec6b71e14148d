"""What a model that answers tasks is worth: outputs and right answers -> `Measured`s -> `GeneratedScore`s.

task, float[N, C], N answers -> {metric: Measured}
model, batches               -> outputs -> scores beside what the model gets without looking, and without a column

    found = scores(network, batches, network.tasks, seen={"sentiment": training_answers})
    found["sentiment.accuracy"].clears
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sensorium.evaluation.blind import deranged
from sensorium.evaluation.drop_one import variants
from sensorium.evaluation.generated import Baselines, GeneratedScore, Measured, score_of
from sensorium.tasks import AnyOf, Box, Number, OneOf, Task, iou

SHUFFLES = 4  # cost no run of the model: see `shuffled`
MAIN = {
    "one_of": "accuracy",
    "any_of": "mAP",
    "number": "mae",
    "box": "iou",
}  # the metric to compare models by
HALF = 0.5  # overlap from which a box counts as found (Everingham et al. 2010, PASCAL VOC, section 4.2)


class BatchLike(Protocol):
    """What is read of a `data.Batch`."""

    @property
    def fields(self) -> Mapping[str, Sequence[Any]]: ...
    def __len__(self) -> int: ...


class Answering(Protocol):
    """What is run: a `models.FusionNetwork`, or anything with its face."""

    @property
    def columns(self) -> Sequence[str]: ...
    def __call__(self, batch: Any, without: Collection[str] = ()) -> Any: ...


Batches = BatchLike | Sequence[BatchLike]


def metrics(task: Task, outputs: Tensor, answers: Sequence[Any]) -> dict[str, Measured]:
    """Every metric of one task, each over the rows whose answer is known.

    outputs: float[N, task.width], as a head gives them
    answers: N right answers, None where unknown

    OneOf    accuracy, macro_f1, balanced_accuracy; with two labels AUROC (of the second label's probability)
    AnyOf    mAP (mean average precision over labels), micro_f1, macro_f1
    Number   mae (mean absolute error, in the unit of the answers), pearson (0 where one side does not vary);
             sign_accuracy over the answers that are not 0, when there are some of both signs (as on CMU-MOSI)
    Box      iou, found (the share of boxes with an IoU of 0.5 or more)

    Means over labels are over those that the rows have or the model gives. Raises ValueError when no answer is
    known, or for an answer that the task does not have.
    """
    if len(outputs) != len(answers):
        raise ValueError(
            f"{task.name}: got outputs of {len(outputs)} rows and {len(answers)} answers; expected one each"
        )
    targets, known = task.targets(answers)
    if not known.any():
        raise ValueError(f"{task.name}: no row has an answer in its field {task.field!r}; nothing to score")
    made = _BY_KIND[task.kind](task, outputs.detach().cpu().float()[known], targets)
    if known.all():
        return made
    rows = np.flatnonzero(known.numpy())
    return {
        name: Measured(
            one.values, one.statistic, rows if one.rows is None else rows[one.rows], one.unit, one.note
        )
        for name, one in made.items()
    }


def main_metric(task: Task) -> str:
    """The metric that models are compared by."""
    return MAIN[task.kind]


def outputs_of(
    model: Answering, batches: Batches, tasks: Sequence[Task], without: Collection[str] = ()
) -> dict[str, Tensor]:
    """{task: float32[N, C]} of all rows of one or several collated batches, in order.

    model:   `model(batch, without=…)` -> something with `.outputs` by task; put it in evaluation mode before
    without: columns hidden from it
    """
    with torch.no_grad():
        found = [model(batch, without=tuple(without)).outputs for batch in _several(batches)]
    return {task.name: torch.cat([one[task.name].float().cpu() for one in found]) for task in tasks}


def answers_of(batches: Batches, task: Task) -> list[Any]:
    """The right answers of all rows, None where unknown."""
    return [
        answer for batch in _several(batches) for answer in batch.fields.get(task.field, [None] * len(batch))
    ]


def constant(task: Task, seen: Sequence[Any]) -> Tensor:
    """float[C]: the outputs of one who has seen the training answers and nothing else.

    OneOf the most frequent label, AnyOf every label's frequency (given when above a half), Number and Box the mean.
    """
    targets, known = task.targets(seen)
    if not known.any():
        raise ValueError(f"{task.name}: got no training answer; expected at least one to know the majority")
    if isinstance(task, OneOf):
        return torch.bincount(targets, minlength=task.width).float()
    mean = targets.float().mean(0)
    if isinstance(task, Number):
        return (mean - task.centre) / task.scale
    return torch.logit(mean, eps=1e-6)


def shuffled(groups: Sequence[Any] | np.ndarray, seed: int = 0) -> np.ndarray | None:
    """int64[N]: for each row another one, whose media it is shown; None where there is only one row or group.

    A model in evaluation mode answers each row by itself, so what it says to another row's media is what it said
    to that row: shuffling the media is shuffling the outputs.
    """
    keys = np.asarray(groups).tolist()
    return deranged(keys, seed) if len(set(keys)) > 1 else None


def scores(
    model: Answering,
    batches: Batches,
    tasks: Sequence[Task],
    groups: Sequence[Any] | np.ndarray | None = None,
    seen: Mapping[str, Sequence[Any]] | None = None,
    columns: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, GeneratedScore]:
    """Every metric of every task beside the same model without looking, and without each column.

    model, batches: see `outputs_of`
    groups:  N labels: rows of one group (about the same picture) are drawn together, and never shown each other's
             media as another's
    seen:    by task, the training answers, for `majority`
    columns: of the model, for the blind and the drop-one numbers; by default its own `columns`

    Returns "<task>.<metric>", then, where there are two columns or more, "<task>.without_<column>.<metric>", and
    of three or more "<task>.only_<column>.<metric>". Tasks without a known answer in these rows are left out.
    """
    names = tuple(model.columns if columns is None else columns)
    asked = [task for task in tasks if any(answer is not None for answer in answers_of(batches, task))]
    if not asked:
        raise ValueError(
            f"no row has an answer to {', '.join(repr(task.field) for task in tasks)}; nothing to score"
        )
    hidden: dict[str, Collection[str]] = {"all": (), "": names}  # "": none is left
    if len(names) > 1:
        hidden |= {
            kind: tuple(name for name in names if name not in used) for kind, used in variants(names).items()
        }
    outputs = {kind: outputs_of(model, batches, asked, without) for kind, without in hidden.items()}
    found = {}
    for task in asked:
        answers = answers_of(batches, task)
        each = {kind: metrics(task, one[task.name], answers) for kind, one in outputs.items()}
        blind = _blind(task, outputs["all"][task.name], answers, groups, (seen or {}).get(task.name), seed)
        for kind, measured in each.items():
            if not kind:
                continue
            prefix = task.name if kind == "all" else f"{task.name}.{kind}"
            for metric, one in measured.items():
                baselines = Baselines(
                    each[""][metric],
                    [run[metric] for run in blind["shuffled"]] if kind == "all" else (),
                    blind["majority"][0][metric] if blind["majority"] else None,
                )
                found[f"{prefix}.{metric}"] = score_of(one, baselines, groups, seed=seed)
    return found


def _blind(
    task: Task,
    outputs: Tensor,
    answers: Sequence[Any],
    groups: Sequence[Any] | np.ndarray | None,
    seen: Sequence[Any] | None,
    seed: int,
) -> dict[str, list[dict[str, Measured]]]:
    keys = np.arange(len(answers)) if groups is None else groups
    orders = [order for s in range(SHUFFLES) if (order := shuffled(keys, seed + s)) is not None]
    same = None if seen is None else constant(task, seen).expand(len(answers), -1)
    return {
        "shuffled": [metrics(task, outputs[torch.from_numpy(order)], answers) for order in orders],
        "majority": [] if same is None else [metrics(task, same, answers)],
    }


def _several(batches: Batches) -> Sequence[Any]:
    """One collated batch, or several."""
    return batches if isinstance(batches, list | tuple) else [batches]


# ── metrics over draws of rows: a row drawn n times weighs n ─────────────────────────────────────────────────


def _one_of(task: Task, outputs: Tensor, targets: Tensor) -> dict[str, Measured]:
    right, given = targets.numpy(), outputs.argmax(-1).numpy()
    C = task.width
    hits = (right == given).astype(float)

    def confusion(rows: np.ndarray) -> np.ndarray:
        """float[C, C]: right labels by given labels."""
        return np.bincount(right[rows] * C + given[rows], minlength=C * C).reshape(C, C).astype(float)

    def macro_f1(rows: np.ndarray) -> float:
        table = confusion(rows)
        return _mean_f1(np.diag(table), table.sum(1), table.sum(0))

    def balanced(rows: np.ndarray) -> float:
        table = confusion(rows)
        has = table.sum(1) > 0
        return float((np.diag(table)[has] / table.sum(1)[has]).mean())

    found = {
        "accuracy": Measured(hits),
        "macro_f1": Measured(hits, macro_f1),
        "balanced_accuracy": Measured(hits, balanced),
    }
    if C == 2 and len(set(right.tolist())) == 2:
        found["AUROC"] = Measured(hits, _auroc((outputs[:, 1] - outputs[:, 0]).double().numpy(), right == 1))
    return found


def _any_of(task: Task, outputs: Tensor, targets: Tensor) -> dict[str, Measured]:
    right, given = targets.numpy() > 0, outputs.numpy() > 0
    tables = [table.astype(float) for table in (right & given, right, given)]

    def counts(rows: np.ndarray) -> list[np.ndarray]:
        """float[C] thrice: how often each label is right and given, right, given."""
        times = np.bincount(rows, minlength=len(right)).astype(float)
        return [times @ table for table in tables]

    def micro_f1(rows: np.ndarray) -> float:
        hits, has, says = (count.sum() for count in counts(rows))
        return float(2 * hits / (has + says)) if has + says else 0.0

    per_row = (right == given).mean(1)
    return {
        "mAP": Measured(per_row, _mean_average_precision(outputs.double().numpy(), right)),
        "micro_f1": Measured(per_row, micro_f1),
        "macro_f1": Measured(per_row, lambda rows: _mean_f1(*counts(rows))),
    }


def _number(task: Task, outputs: Tensor, targets: Tensor) -> dict[str, Measured]:
    given, right = np.array(task.answers(outputs), float), targets[:, 0].double().numpy()
    off = np.abs(given - right)

    def pearson(rows: np.ndarray) -> float:
        x, y = given[rows] - given[rows].mean(), right[rows] - right[rows].mean()
        spread = np.sqrt((x**2).sum() * (y**2).sum())
        tiny = 1e-9 * len(rows) * (1 + np.abs(given[rows]).max()) * (1 + np.abs(right[rows]).max())
        return float((x * y).sum() / spread) if spread > tiny else 0.0  # a constant varies by rounding only

    found = {"mae": Measured(off, unit="distance"), "pearson": Measured(off, pearson)}
    signed = np.flatnonzero(right != 0)
    if (right > 0).any() and (right < 0).any():
        same = (given[signed] > 0) == (right[signed] > 0)
        found["sign_accuracy"] = Measured(same.astype(float), rows=signed)
    return found


def _box(task: Task, outputs: Tensor, targets: Tensor) -> dict[str, Measured]:
    overlap = iou(torch.tensor(task.answers(outputs)), targets).double().numpy()
    return {"iou": Measured(overlap), "found": Measured((overlap >= HALF).astype(float))}


_BY_KIND: dict[str, Callable[[Any, Tensor, Tensor], dict[str, Measured]]] = {
    OneOf.kind: _one_of,
    AnyOf.kind: _any_of,
    Number.kind: _number,
    Box.kind: _box,
}


def _mean_f1(hits: np.ndarray, has: np.ndarray, says: np.ndarray) -> float:
    """Over the labels that the rows have or are given."""
    there = has + says > 0
    return float((2 * hits[there] / (has + says)[there]).mean()) if there.any() else 0.0


def _auroc(points: np.ndarray, positive: np.ndarray) -> Callable[[np.ndarray], float]:
    """The chance that a positive has more points than a negative, ties half (Mann & Whitney 1947).

    0.5 for a draw that lacks positives or negatives.
    """
    order = np.argsort(points, kind="stable")
    yes, group = positive[order], _tied(points[order])

    def over(rows: np.ndarray) -> float:
        weight = np.bincount(rows, minlength=len(points))[order].astype(float)
        plus, minus = (np.bincount(group, weight * side) for side in (yes, ~yes))
        if not plus.sum() or not minus.sum():
            return 0.5
        below = np.cumsum(minus) - minus
        return float((plus * (below + minus / 2)).sum() / (plus.sum() * minus.sum()))

    return over


def _mean_average_precision(points: np.ndarray, positive: np.ndarray) -> Callable[[np.ndarray], float]:
    """float[N, C], bool[N, C] -> mean over the labels that drawn rows have, of sum (R_n - R_n-1) P_n.

    Rows with equal points are at one threshold (as in scikit-learn: the order of ties decides nothing).
    """
    N, C = points.shape
    order = np.argsort(-points, axis=0, kind="stable")
    ranked = np.take_along_axis(points, order, 0)
    yes = np.take_along_axis(positive, order, 0).astype(float)
    last = np.stack([_last_of_ties(ranked[:, label]) for label in range(C)], 1)

    def over(rows: np.ndarray) -> float:
        weight = np.bincount(rows, minlength=N).astype(float)[order]
        hits, seen = np.cumsum(weight * yes, 0), np.cumsum(weight, 0)
        precision = np.take_along_axis(hits / np.maximum(seen, 1), last, 0)
        there = hits[-1] > 0
        if not there.any():
            return 0.0
        each = (weight * yes * precision).sum(0)[there] / hits[-1][there]
        return float(each.mean())

    return over


def _tied(ordered: np.ndarray) -> np.ndarray:
    """Numbers in order -> int64[N], which run of equal ones each belongs to."""
    return np.cumsum(np.r_[0, ordered[1:] != ordered[:-1]])


def _last_of_ties(ordered: np.ndarray) -> np.ndarray:
    """int64[N]: where the run of equal numbers ends that each belongs to."""
    group = _tied(ordered)
    return np.cumsum(np.bincount(group))[group] - 1
