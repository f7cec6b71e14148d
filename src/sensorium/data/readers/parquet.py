"""Parquet files -> samples, a row group at a time.

What the file says of its columns (Hugging Face's features in its metadata) is believed; the rest is guessed.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow
import pyarrow.parquet

from sensorium.data.readers.rows import LOOKED_AT, Layout, ReaderError, columns_of
from sensorium.data.sample import Sample

KEPT_BYTES = 512 * 2**20  # row groups held in memory, at least one


def read_parquet(
    path: str | os.PathLike | Sequence[str | os.PathLike],
    columns: Mapping[str, str] | None = None,
    *,
    id: str | None = "id",
    meanings: Sequence[str] | None = None,
    allow_outside: bool = False,
) -> ParquetSamples:
    """The rows of a Parquet file, of several, or of all below a folder.

    Media are columns of bytes, of paths, or Hugging Face's {bytes, path}; options as for `read_table`. Rows
    without an id are called "<file>:<row number>".
    """
    given = [path] if isinstance(path, str | os.PathLike) else list(path)
    files: list[Path] = []
    for one in map(Path, given):
        files += sorted(one.rglob("*.parquet")) if one.is_dir() else [one]
    if not files:
        raise ReaderError(f"no Parquet file in {', '.join(map(str, given)) or 'an empty list'}")
    return ParquetSamples(files, columns, id, meanings, allow_outside)


class ParquetSamples(Sequence[Sample]):
    """The rows of some files of one schema; opening reads the footers, the ids and the first row group only.

    Reading in order costs each row group once. To train on more than memory holds, give
    `Run(order=samples.order)`: it shuffles the row groups and the rows in each, while a free shuffle would
    read a whole group for every row.
    """

    def __init__(
        self,
        files: Sequence[Path],
        columns: Mapping[str, str] | None,
        id: str | None,
        meanings: Sequence[str] | None,
        allow_outside: bool,
    ) -> None:
        self._groups: list[tuple[Path, int]] = []
        counts = [0]
        for file in files:
            footer = _opened(file)
            if not self._groups:
                schema = footer.schema_arrow
            elif footer.schema_arrow.names != schema.names:
                raise ReaderError(
                    f"{file} has the columns {footer.schema_arrow.names}, {files[0]} has {schema.names}; "
                    "read files of different columns apart"
                )
            for group in range(footer.num_row_groups):
                self._groups.append((file, group))
                counts.append(footer.metadata.row_group(group).num_rows)
        self._starts = np.cumsum(counts)
        self._kept: OrderedDict[int, pyarrow.Table] = OrderedDict()
        if not len(self):
            raise ReaderError(f"{files[0]}: expected at least one row, got none")
        declared, self._labels = _hugging_face_features(schema)
        first = self._table(0).slice(0, LOOKED_AT).to_pylist()
        modality = columns_of(first, schema.names, columns, str(files[0]), declared)
        self._layouts = {
            folder: Layout(modality, id, meanings, folder, allow_outside)
            for folder in {file.parent for file in files}
        }
        if id is not None and id in schema.names:
            self._check_ids(files, id)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        group = int(np.searchsorted(self._starts, place, side="right")) - 1
        file, number = self._groups[group]
        table, row = self._table(group), place - int(self._starts[group])
        cells = {name: table.column(name)[row].as_py() for name in table.column_names}
        for name, labels in self._labels.items():
            cells[name] = None if cells[name] is None or cells[name] < 0 else labels[cells[name]]
        in_file = place - int(self._starts[group - number])
        return self._layouts[file.parent].sample(cells, f"{file.name}:{in_file}", f"{file}, row {in_file}")

    def order(self, seed: int, epoch: int, length: int) -> np.ndarray:
        """Every place once: row groups in random order, and in random order the rows of each."""
        assert length == len(self), (length, len(self))
        draw = np.random.default_rng((seed, epoch))
        groups = draw.permutation(len(self._groups))
        return np.concatenate(
            [draw.permutation(np.arange(*self._starts[group : group + 2])) for group in groups]
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}

    def _table(self, group: int) -> pyarrow.Table:
        if group not in self._kept:
            file, number = self._groups[group]
            self._kept[group] = _opened(file).read_row_group(number)
            while len(self._kept) > 1 and sum(table.nbytes for table in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(group)
        return self._kept[group]

    def _check_ids(self, files: Sequence[Path], id: str) -> None:
        ids = pyarrow.concat_tables([pyarrow.parquet.read_table(file, columns=[id]) for file in files])[id]
        counts = ids.drop_null().value_counts()
        for value, count in zip(counts.field("values"), counts.field("counts")):
            if count.as_py() > 1:
                raise ReaderError(
                    f"{files[0]}: {count} rows have the {id} {value.as_py()!r}; expected unique ids. Name "
                    "another column with id='…', or pass id=None to number the rows"
                )


def _opened(file: Path) -> pyarrow.parquet.ParquetFile:
    try:
        return pyarrow.parquet.ParquetFile(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise ReaderError(f"{file}: cannot be read as Parquet ({error})") from error


def _hugging_face_features(schema: pyarrow.Schema) -> tuple[dict[str, str], dict[str, list[str]]]:
    """(modality by column, names of the labels by column) as the `datasets` library left them in the file."""
    found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = found.get("info", {}).get("features", {})
    kinds = {name: feature.get("_type") for name, feature in features.items() if isinstance(feature, dict)}
    modality = {
        name: kind.lower()
        for name, kind in kinds.items()
        if kind in ("Image", "Audio", "Video") and name in schema.names
    }
    labels = {
        name: features[name]["names"]
        for name, kind in kinds.items()
        if kind == "ClassLabel" and name in schema.names
    }
    return modality, labels
