"""Fields of a user's records -> `Task`s: what each field asks for is guessed from its values, and said.

numbers -> Number (a few whole ones: labels), lists or "a|b" -> AnyOf, four numbers from 0 to 1 -> Box, else OneOf
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sensorium.data.readers.rows import is_missing
from sensorium.data.readers.vqa import USUAL_ANSWERS
from sensorium.data.sample import Sample
from sensorium.tasks import AnyOf, Box, Number, OneOf, Task

KINDS = ("one_of", "any_of", "number", "box")
FEW = 10  # whole numbers of at most so many different values are labels, such as 0 and 1
USUAL = ("label", "labels", "target", "class", "category", "sentiment", "answer", "rating")
BETWEEN = "|"  # stands between the labels of a cell with several


@dataclass(frozen=True)
class Labels:
    """What is asked of a data set, and its records with the answers as the tasks take them.

    about: one line a field: which kind it was taken for, and how to say otherwise
    """

    tasks: tuple[Task, ...]
    samples: list[Sample]
    about: tuple[str, ...]


def labels_of(
    samples: Sequence[Sample], fields: Sequence[str], where: str, most: int | None = None
) -> Labels:
    """The tasks of these fields; each may say its kind behind a colon, "rating:number". None given: a usual name.

    most: labels of a `OneOf`, the most frequent ones, by default VQA's 3,129; other answers become unknown (None), as
          in `readers.vqa.within_vocabulary`. Training records are counted where all say that they are of one part

    Raises ValueError for a field that is not there, a kind that does not exist, and values that fit no task.
    """
    if most is not None and most < 2:
        raise ValueError(f"--most {most}: expected at least 2 labels")
    asked = [name.partition(":")[::2] for name in fields or [usual_field(samples, where)]]
    tasks, about = [], []
    for name, said in asked:
        values = [value for s in samples if not is_missing(value := s.fields.get(name))]
        if not values:
            raise ValueError(
                f"{where}: no record has a value in {name!r}; its fields are {', '.join(_fields(samples)) or 'none'}. "
                "Choose with --label FIELD"
            )
        if said and said not in KINDS:
            raise ValueError(f"--label {name}:{said}: expected one of {', '.join(KINDS)} behind the colon")
        kind = said or guess(values)
        answers = [ANSWERS[kind](value) for value in values]
        left_out = ""
        if kind == "one_of":
            counted = _to_train(samples, name) or answers
            kept = {label for label, _ in _ranked(counted)[: most or USUAL_ANSWERS]}
            if rare := len(set(answers) - kept):
                answers = [answer for answer in answers if answer in kept]
                left_out = (
                    f"; {rare:,} rarer answers, of {len(values) - len(answers):,} records, are neither trained nor "
                    "tested on: --most says how many labels there are"
                )
            if most is None:
                _check_labels(name, answers, where)
        task = _TASKS[kind](name, answers, where)
        tasks.append(task)
        how = "as was said" if said else f"guessed; --label {name}:KIND says otherwise: {', '.join(KINDS)}"
        about.append(f"{name}: {_described(task, len(answers))} ({how}){left_out}")
    return Labels(tuple(tasks), answered(samples, tasks), tuple(about))


def answered(samples: Sequence[Sample], tasks: Sequence[Task]) -> list[Sample]:
    """The records with their answers as the tasks take them, None where a cell is empty or a label is none of theirs.

    Raises ValueError for a cell that cannot be an answer of its task.
    """
    return [
        replace(sample, fields={**sample.fields, **{task.field: _answer(sample, task) for task in tasks}})
        for sample in samples
    ]


def _answer(sample: Sample, task: Task) -> Any:
    cell = sample.fields.get(task.field)
    if is_missing(cell):
        return None
    answer = ANSWERS[task.kind](cell)
    return None if isinstance(task, OneOf) and answer not in task.place else answer


def _to_train(samples: Sequence[Sample], name: str) -> list[str]:
    """The labels of training records, [] unless every record says of which part it is."""
    parts = [str(sample.fields.get("split") or "").lower() for sample in samples]
    if not all(parts):
        return []
    cells = [sample.fields.get(name) for sample, part in zip(samples, parts) if part in ("train", "training")]
    return [_label(cell) for cell in cells if not is_missing(cell)]


def _ranked(labels: Sequence[str]) -> list[tuple[str, int]]:
    """The most frequent first, equals in the order of the alphabet."""
    return sorted(Counter(labels).items(), key=lambda item: (-item[1], item[0]))


def usual_field(samples: Sequence[Sample], where: str) -> str:
    """The field that holds the answers: one of the usual names, or the only one whose values come back."""
    fields = _fields(samples)
    for name in USUAL:
        if name in fields:
            return name
    raise ValueError(
        f"{where}: which field is to be learned? Got the fields {', '.join(fields) or 'none'}; choose with "
        "--label FIELD, or sort the files into a folder a label"
    )


def guess(values: Sequence[Any]) -> str:
    """The kind of task of a field with these values."""
    if all(_is_box(value) for value in values):
        return "box"
    if any(isinstance(value, list | tuple) for value in values):
        return "any_of"
    if any(isinstance(value, str) and BETWEEN in value for value in values):
        return "any_of"
    numbers = [number for value in values if (number := _maybe_number(value)) is not None]
    if len(numbers) < len(values):
        return "one_of"
    whole = all(number.is_integer() for number in numbers)
    return "one_of" if whole and len(set(numbers)) <= FEW else "number"


def _label(cell: Any) -> str:
    return str(cell).strip()


def _labels(cell: Any) -> list[str]:
    cells = cell if isinstance(cell, list | tuple) else str(cell).split(BETWEEN)
    return list(dict.fromkeys(text for one in cells if (text := str(one).strip())))


def _number(cell: Any) -> float:
    number = _maybe_number(cell)
    if number is None:
        raise ValueError(f"got {cell!r}; expected a number")
    return number


ANSWERS: dict[str, Callable[[Any], Any]] = {
    "one_of": _label,
    "any_of": _labels,
    "number": _number,
    "box": list,
}


def _one_of(name: str, answers: Sequence[str], where: str) -> Task:
    return OneOf(name, _sorted(set(answers)))


def _check_labels(name: str, answers: Sequence[str], where: str) -> None:
    found = set(answers)
    if len(found) > max(FEW, len(answers) // 2):
        raise ValueError(
            f"{where}: {name!r} has {len(found)} different values in {len(answers)} rows, which are no labels; "
            "choose another field with --label FIELD, or learn only its most frequent answers with --most N"
        )


def _any_of(name: str, answers: Sequence[Sequence[str]], where: str) -> Task:
    return AnyOf(name, _sorted({label for answer in answers for label in answer}))


def _numbers(name: str, answers: Sequence[float], where: str) -> Task:
    return Number(name, centre=float(np.mean(answers)), scale=float(np.std(answers)) or 1.0)


def _box(name: str, answers: Sequence[Any], where: str) -> Task:
    return Box(name)


_TASKS: dict[str, Callable[[str, Any, str], Task]] = {
    "one_of": _one_of,
    "any_of": _any_of,
    "number": _numbers,
    "box": _box,
}


def _maybe_number(cell: Any) -> float | None:
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_box(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 4:
        return False
    return all(isinstance(number, int | float) and 0 <= number <= 1 for number in value)


def _sorted(labels: Collection[str]) -> list[str]:
    """In the order of the alphabet, numbers in theirs."""
    numbers = {label: number for label in labels if (number := _maybe_number(label)) is not None}
    return sorted(labels, key=(lambda one: (numbers[one], one)) if len(numbers) == len(labels) else str)


def _described(task: Task, known: int) -> str:
    if isinstance(task, OneOf | AnyOf):
        shown = ", ".join(task.labels[:6]) + (" …" if len(task.labels) > 6 else "")
        several = "one of" if isinstance(task, OneOf) else "any of"
        return f"{several} {len(task.labels)} labels ({shown}), known in {known:,} records"
    if isinstance(task, Number):
        return f"a number around {task.centre:.3g} ± {task.scale:.3g}, known in {known:,} records"
    return f"a box, known in {known:,} records"


def _fields(samples: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(name for sample in samples for name in sample.fields))
