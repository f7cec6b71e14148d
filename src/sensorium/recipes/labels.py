"""Fields of a user's records -> `Task`s: what each field asks for is guessed from its values, and said.

numbers -> Number, lists or "a|b" -> AnyOf, four numbers from 0 to 1 -> Box, all else -> OneOf
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sensorium.data.readers.rows import is_missing
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


def labels_of(samples: Sequence[Sample], fields: Sequence[str], where: str) -> Labels:
    """The tasks of these fields; each may say its kind behind a colon, "rating:number". None given: a usual name.

    Raises ValueError for a field that is not there, a kind that does not exist, and values that fit no task.
    """
    asked = [name.partition(":")[::2] for name in fields or [usual_field(samples, where)]]
    tasks, about, parse = [], [], {}
    for name, said in asked:
        values = [value for s in samples if not is_missing(value := s.fields.get(name))]
        if not values:
            raise ValueError(
                f"{where}: no record has a value in {name!r}; its fields are {_fields(samples) or 'none'}. "
                "Choose with --label FIELD"
            )
        if said and said not in KINDS:
            raise ValueError(f"--label {name}:{said}: expected one of {', '.join(KINDS)} behind the colon")
        kind = said or guess(values)
        task, parse[name] = _TASKS[kind](name, values, where)
        tasks.append(task)
        how = "as was said" if said else f"guessed; --label {name}:{_other(kind)} says otherwise"
        about.append(f"{name}: {_described(task, len(values))} ({how})")
    return Labels(tuple(tasks), [_answered(sample, parse) for sample in samples], tuple(about))


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
    numbers = [_number(value) for value in values]
    if any(number is None for number in numbers):
        return "one_of"
    whole = all(number is not None and number.is_integer() for number in numbers)
    return "one_of" if whole and len(set(numbers)) <= FEW else "number"


def _one_of(name: str, values: Sequence[Any], where: str) -> tuple[Task, Callable[[Any], Any]]:
    counts = Counter(str(value).strip() for value in values)
    if len(counts) > max(FEW, len(values) // 2):
        raise ValueError(
            f"{where}: {name!r} has {len(counts)} different values in {len(values)} rows, which are no labels; "
            "choose another field with --label FIELD"
        )
    return OneOf(name, _sorted(counts)), lambda value: str(value).strip()


def _any_of(name: str, values: Sequence[Any], where: str) -> tuple[Task, Callable[[Any], Any]]:
    counts = Counter(label for value in values for label in _several(value))
    return AnyOf(name, _sorted(counts)), _several


def _number_task(name: str, values: Sequence[Any], where: str) -> tuple[Task, Callable[[Any], Any]]:
    numbers = [_number(value) for value in values]
    for value, number in zip(values, numbers):
        if number is None:
            raise ValueError(f"{where}: {name!r} holds {value!r}; expected numbers")
    scale = float(np.std(numbers))  # type: ignore[arg-type]
    return Number(name, centre=float(np.mean(numbers)), scale=scale or 1.0), _number  # type: ignore[arg-type]


def _box(name: str, values: Sequence[Any], where: str) -> tuple[Task, Callable[[Any], Any]]:
    return Box(name), list


_TASKS: Mapping[str, Callable[[str, Sequence[Any], str], tuple[Task, Callable[[Any], Any]]]] = {
    "one_of": _one_of,
    "any_of": _any_of,
    "number": _number_task,
    "box": _box,
}


def _answered(sample: Sample, parse: Mapping[str, Callable[[Any], Any]]) -> Sample:
    answers = {
        name: None if is_missing(value := sample.fields.get(name)) else of(value)
        for name, of in parse.items()
    }
    return replace(sample, fields={**sample.fields, **answers})


def _several(value: Any) -> list[str]:
    cells = value if isinstance(value, list | tuple) else str(value).split(BETWEEN)
    return list(dict.fromkeys(text for cell in cells if (text := str(cell).strip())))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_box(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 4:
        return False
    return all(isinstance(number, int | float) and 0 <= number <= 1 for number in value)


def _sorted(labels: Mapping[str, int]) -> list[str]:
    """In the order of the alphabet, numbers in theirs."""
    numbers = {label: _number(label) for label in labels}
    if all(number is not None for number in numbers.values()):
        return sorted(labels, key=lambda label: (numbers[label], label))
    return sorted(labels)


def _described(task: Task, known: int) -> str:
    if isinstance(task, OneOf | AnyOf):
        shown = ", ".join(task.labels[:6]) + (" …" if len(task.labels) > 6 else "")
        several = "one of" if isinstance(task, OneOf) else "any of"
        return f"{several} {len(task.labels)} labels ({shown}), known in {known:,} records"
    if isinstance(task, Number):
        return f"a number around {task.centre:.3g} ± {task.scale:.3g}, known in {known:,} records"
    return f"a box, known in {known:,} records"


def _other(kind: str) -> str:
    return "number" if kind == "one_of" else "one_of"


def _fields(samples: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(name for sample in samples for name in sample.fields))
