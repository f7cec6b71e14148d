"""What a model is asked to predict: `Task`, with how its outputs are trained, read and compared.

labels of a data set's field -> Task -> width of a head, targets, loss, answers

OneOf    one of several labels        sentiment, an action, a VQA answer; of "no" and "yes": matching
AnyOf    any of several labels        the things in a scene
Number   a number                     a rating
Box      where something is           cx, cy, w, h in shares of the picture
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class Task:
    """One thing to predict for every row.

    name:  of the head, the loss and the score
    field: of a `Sample`, where the right answer stands; a row without it (None) is not trained or scored on
    width: numbers a head gives for it

    outputs float[B, width] are what heads give: logits, or numbers.
    """

    kind: str
    width: int

    def __init__(self, name: str, field: str | None = None) -> None:
        self.name, self.field = name, field or name

    def targets(self, values: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """N answers, None where unknown -> (targets of the P known ones, known bool[N]).

        Raises ValueError for an answer that the task does not have.
        """
        known = torch.tensor([value is not None for value in values], dtype=torch.bool)
        found = [self.target(value) for value in values if value is not None]
        return (torch.stack(found) if found else self.nothing()), known

    def target(self, value: Any) -> Tensor:
        """One answer as a tensor."""
        raise NotImplementedError

    def nothing(self) -> Tensor:
        """Targets of no rows."""
        return torch.zeros(0, self.width)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """float[P, width] and P targets -> float[P], a loss a row."""
        raise NotImplementedError

    def answers(self, outputs: Tensor) -> list[Any]:
        """float[B, width] -> B answers, as `target` takes them."""
        raise NotImplementedError

    def probabilities(self, outputs: Tensor) -> Tensor | None:
        """float[B, width], of every label; None for tasks without labels."""
        return None

    def as_json(self) -> dict[str, Any]:
        """What `task_from` makes the same task of."""
        return {"kind": self.kind, "name": self.name, "field": self.field}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self.as_json() == other.as_json()

    def __hash__(self) -> int:
        return hash((self.kind, self.name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.as_json().items() if k != 'kind')})"


class Labelled(Task):
    """A task with a fixed set of labels."""

    def __init__(self, name: str, labels: Sequence[str], field: str | None = None) -> None:
        super().__init__(name, field)
        self.labels = tuple(str(label) for label in labels)
        if len(set(self.labels)) < 2 or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels of {name!r}: got {list(labels)}; expected two or more different ones")
        self.place = {label: place for place, label in enumerate(self.labels)}
        self.width = len(self.labels)

    def place_of(self, label: Any) -> int:
        if str(label) not in self.place:
            shown = ", ".join(self.labels[:10]) + (" …" if len(self.labels) > 10 else "")
            raise ValueError(f"{self.field}: got {label!r}; expected one of {shown}")
        return self.place[str(label)]

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "labels": list(self.labels)}


class OneOf(Labelled):
    """Exactly one of several labels: softmax and cross-entropy. Answers are labels."""

    kind = "one_of"

    def target(self, value: Any) -> Tensor:
        return torch.tensor(self.place_of(value))

    def targets(self, values: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """As `Task.targets`, without a tensor for each answer."""
        places = [self.place_of(value) for value in values if value is not None]
        known = torch.tensor([value is not None for value in values], dtype=torch.bool)
        return torch.tensor(places, dtype=torch.int64), known

    def nothing(self) -> Tensor:
        return torch.zeros(0, dtype=torch.int64)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.float(), targets, reduction="none")

    def answers(self, outputs: Tensor) -> list[str]:
        return [self.labels[place] for place in outputs.argmax(-1).tolist()]

    def probabilities(self, outputs: Tensor) -> Tensor:
        return outputs.float().softmax(-1)


class AnyOf(Labelled):
    """Any of several labels, each by itself: sigmoid and binary cross-entropy. Answers are lists of labels."""

    kind = "any_of"

    def target(self, value: Any) -> Tensor:
        if isinstance(value, str) or not isinstance(value, Iterable):
            what = "the text " if isinstance(value, str) else ""
            raise ValueError(f"{self.field}: got {what}{value!r}; expected a list of labels")
        target = torch.zeros(self.width)
        for label in value:
            target[self.place_of(label)] = 1
        return target

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(outputs.float(), targets, reduction="none").mean(-1)

    def answers(self, outputs: Tensor) -> list[list[str]]:
        return [[label for label, yes in zip(self.labels, row) if yes] for row in (outputs > 0).tolist()]

    def probabilities(self, outputs: Tensor) -> Tensor:
        return outputs.float().sigmoid()


class Number(Task):
    """A number: smooth L1 (Huber) loss in units of `scale`.

    centre, scale: outputs are (number - centre) / scale, so that a head's first outputs are of the right size
    """

    kind = "number"
    width = 1

    def __init__(self, name: str, field: str | None = None, centre: float = 0.0, scale: float = 1.0) -> None:
        super().__init__(name, field)
        if not scale > 0:
            raise ValueError(f"scale of {name!r}: got {scale}; expected a number above 0")
        self.centre, self.scale = centre, scale

    def target(self, value: Any) -> Tensor:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{self.field}: got {value!r}; expected a number")
        return torch.tensor([number])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        wanted = (targets - self.centre) / self.scale
        return F.smooth_l1_loss(outputs.float(), wanted, reduction="none").squeeze(-1)

    def answers(self, outputs: Tensor) -> list[float]:
        return (outputs.float().squeeze(-1) * self.scale + self.centre).tolist()

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "centre": self.centre, "scale": self.scale}


class Box(Task):
    """Where something is: (cx, cy, w, h) in shares of the picture, 0 to 1. Heads give their logits.

    L1 and generalised IoU, weighted as in DETR (Carion et al. 2020, arXiv:2005.12872, section A.2: 5 and 2).
    """

    kind = "box"
    width = 4

    def target(self, value: Any) -> Tensor:
        try:
            box = [float(number) for number in value]
        except (TypeError, ValueError):
            box = []
        if len(box) != 4 or not all(0 <= number <= 1 for number in box):
            raise ValueError(f"{self.field}: got {value!r}; expected cx, cy, w, h from 0 to 1")
        return torch.tensor(box)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        boxes = outputs.float().sigmoid()
        distance = (boxes - targets).abs().sum(-1)
        return 5 * distance + 2 * (1 - generalised_iou(boxes, targets))

    def answers(self, outputs: Tensor) -> list[list[float]]:
        return outputs.float().sigmoid().tolist()


def iou(one: Tensor, other: Tensor) -> Tensor:
    """float[..., 4] twice, (cx, cy, w, h) -> float[...]: shared area over joint area, 0 to 1."""
    shared, joint, _ = _areas(one, other)
    return shared / joint.clamp(min=1e-9)


def generalised_iou(one: Tensor, other: Tensor) -> Tensor:
    """As `iou`, less the empty share of the smallest box around both, -1 to 1 (Rezatofighi et al. 2019, alg. 1)."""
    shared, joint, around = _areas(one, other)
    return shared / joint.clamp(min=1e-9) - (around - joint) / around.clamp(min=1e-9)


def _areas(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Areas that two boxes share, cover together, and of the smallest box around both."""
    low_one, high_one = one[..., :2] - one[..., 2:] / 2, one[..., :2] + one[..., 2:] / 2
    low, high = other[..., :2] - other[..., 2:] / 2, other[..., :2] + other[..., 2:] / 2
    shared = (torch.minimum(high_one, high) - torch.maximum(low_one, low)).clamp(min=0).prod(-1)
    joint = one[..., 2:].prod(-1) + other[..., 2:].prod(-1) - shared
    around = (torch.maximum(high_one, high) - torch.minimum(low_one, low)).prod(-1)
    return shared, joint, around


KINDS: dict[str, type[Task]] = {task.kind: task for task in (OneOf, AnyOf, Number, Box)}


def task_from(given: Task | Mapping[str, Any]) -> Task:
    """The task itself, or the one that `as_json` wrote. Raises ValueError for an unknown kind."""
    if isinstance(given, Task):
        return given
    options = dict(given)
    kind = options.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"kind of task: got {kind!r}; expected one of {', '.join(KINDS)}")
    return KINDS[kind](**options)
