"""Which of a source's columns is which of a model's: by name, by what the user says, or the only one of its modality.

a model's {column: modality} + a folder or table -> its records, with the columns called as the model calls them
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from sensorium.data.readers import ReaderError, read
from sensorium.data.sample import Sample

LOOKED_AT = 100  # records whose fields are looked at for a column that the reader did not guess


@dataclass(frozen=True)
class Matched:
    """The records of a source, and how a model reads them.

    records: as `readers.read` gives them: a sequence, or an iterable for tar files
    columns: the model's column -> the source's; one that the source does not have is missing
    given:   modality by column of the source
    wanted:  modality by column of the model
    """

    records: Sequence[Sample] | Iterable[Sample]
    columns: Mapping[str, str]
    given: Mapping[str, str]
    wanted: Mapping[str, str]

    def renamed(self, sample: Sample) -> Sample:
        """A record with the columns that the model reads, called as it calls them."""
        kept: dict[str, Any] = {
            name: sample.columns[other] for name, other in self.columns.items() if other in sample.columns
        }
        return replace(sample, columns=kept, modality=dict(self.wanted))


def read_for(source: str | Path, wanted: Mapping[str, str], said: Mapping[str, str] | None = None) -> Matched:
    """Read a source for a model that reads `wanted` (modality by column).

    said: the model's column -> the source's, where names differ

    Raises ValueError when a column that was named is not there, when a choice must be made, and when there is
    nothing that the model reads.
    """
    said = dict(said or {})
    if unknown := sorted(set(said) - set(wanted)):
        raise ValueError(f"--columns {' '.join(unknown)}: this model reads {_list(wanted)}")
    records = records_of(source, {said.get(name, name): modality for name, modality in wanted.items()})
    given = _modality(records)
    return Matched(records, match(wanted, given, said, str(source)), given, dict(wanted))


def match(
    wanted: Mapping[str, str], given: Mapping[str, str], said: Mapping[str, str], where: str
) -> dict[str, str]:
    """The model's column -> the source's. Raises ValueError as `read_for`."""
    for name, other in said.items():
        if given.get(other) != wanted[name]:
            raise ValueError(
                f"--columns {name}={other}: {where} has {_list(given)}; this model reads {wanted[name]} as {name!r}"
            )
    found = dict(said)
    found |= {name: name for name in wanted if name not in found and given.get(name) == wanted[name]}
    for name, modality in wanted.items():
        free = [other for other in given if given[other] == modality and other not in found.values()]
        if name in found or not free:
            continue
        rivals = [one for one in wanted if wanted[one] == modality and one not in found]
        if len(free) > 1 or len(rivals) > 1:
            raise ValueError(
                f"{where}: which of its columns {', '.join(free)} is the model's {name!r}? Say so: --columns "
                f"{' '.join(f'{one}={other}' for one, other in zip(rivals, free))}"
            )
        found[name] = free[0]
    if not found:
        raise ValueError(
            f"{where}: got {_list(given)}, of which this model reads nothing; it reads {_list(wanted)}. Where a column "
            f"goes by another name, say so: --columns {next(iter(wanted))}=NAME"
        )
    return {name: found[name] for name in wanted if name in found}


def records_of(source: str | Path, declared: Mapping[str, str]) -> Sequence[Sample] | Iterable[Sample]:
    """The records, with columns that the reader would not have guessed: words under a name of the user's own.

    declared: modality by column, of those that the source may have; it counts where the reader took them for fields
    """
    try:
        records = read(source)
    except ReaderError as error:
        if not declared or not Path(source).exists():
            raise
        try:
            return read(source, declared)
        except ReaderError:
            raise error from None
    guessed, fields = _modality(records), {name for s in islice(records, LOOKED_AT) for name in s.fields}
    unguessed = {
        name: modality for name, modality in declared.items() if name in fields and name not in guessed
    }
    return read(source, {**guessed, **unguessed}) if unguessed else records


def _modality(records: Iterable[Sample]) -> dict[str, str]:
    """Modality by column; every record declares that of the whole data set."""
    return dict(next((sample.modality for sample in records), {}))


def pairs(given: Sequence[str]) -> dict[str, str]:
    """["image=photo"] -> {"image": "photo"}. Raises ValueError for what is no such pair."""
    found = {}
    for one in given:
        name, equals, other = one.partition("=")
        if not (name and equals and other):
            raise ValueError(f"--columns {one}: expected MODEL'S=YOURS, such as image=photo")
        found[name] = other
    return found


def _list(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({modality})" for name, modality in columns.items()) or "no columns of media"
