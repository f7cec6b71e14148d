"""Hugging Face `datasets` -> samples, media undecoded, to be decoded within our limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, overload

from torch.utils.data import IterableDataset

from sensorium.data.ranks import rank_and_world, worker_and_workers
from sensorium.data.readers.rows import LOOKED_AT, Layout, ReaderError, columns_of
from sensorium.data.sample import Sample

MEDIA = ("Image", "Audio", "Video")


def read_hugging_face(
    dataset: Any,
    columns: Mapping[str, str] | None = None,
    *,
    id: str | None = "id",
    meanings: Sequence[str] | None = None,
) -> HuggingFaceSamples | HuggingFaceStream:
    """The rows of a `datasets.Dataset` (a sequence) or `IterableDataset` (a stream), loaded by you.

    Its features say which columns are media, and which fields are classes (these become their names); strings
    under one of `rows.TEXT_NAMES` are text. Options as for `read_table`; rows without an id are called by
    their number.
    """
    import datasets

    if isinstance(dataset, dict):  # DatasetDict and IterableDatasetDict
        raise ReaderError(
            f"got splits {list(dataset)}; expected one of them, such as dataset[{next(iter(dataset))!r}]"
        )
    features = dataset.features or {}
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    for name, kind in kinds.items():
        if kind in MEDIA:
            dataset = dataset.cast_column(name, getattr(datasets, kind)(decode=False))
    dataset = dataset.with_format(None)
    names = list(features)
    declared = {name: kind.lower() for name, kind in kinds.items() if kind in MEDIA}
    # Media need not be fetched to learn what the other columns are.
    looked_at = dataset.select_columns([name for name in names if name not in declared]) if names else dataset
    first = [dict(row) for row in islice(looked_at, LOOKED_AT)]
    names = names or list(dict.fromkeys(name for row in first for name in row))
    modality = columns_of(first, names, columns, "the data set", declared)
    labels = {name: feature.names for name, feature in features.items() if kinds[name] == "ClassLabel"}
    # Paths in it were written by the library that you loaded it with, into its own cache or from your folder.
    rows = _Rows(Layout(modality, id, meanings, Path(), allow_outside=True), labels)
    if isinstance(dataset, IterableDataset):  # theirs are, once torch is imported
        return HuggingFaceStream(dataset, rows)
    return HuggingFaceSamples(dataset, rows)


@dataclass(frozen=True)
class _Rows:
    layout: Layout
    labels: Mapping[str, Sequence[str]]

    def sample(self, row: Mapping[str, Any], number: int | str) -> Sample:
        row = dict(row)
        for name, names in self.labels.items():
            if name in row:  # -1 stands for an unknown class
                row[name] = None if row[name] is None or row[name] < 0 else names[row[name]]
        return self.layout.sample(row, str(number), f"row {number}")


class HuggingFaceSamples(Sequence[Sample]):
    """The rows of a `Dataset`, read when they are asked for."""

    def __init__(self, dataset: Any, rows: _Rows) -> None:
        self.dataset, self._rows = dataset, rows

    def __len__(self) -> int:
        return len(self.dataset)

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
        return self._rows.sample(self.dataset[place], place)


class HuggingFaceStream(IterableDataset[Sample]):
    """The rows of an `IterableDataset`, shared out among processes and their loader workers.

    Without an id column, rows are called "<process>/<worker>/<number>": unique, but the same in the next run
    only with as many of both.
    """

    def __init__(self, dataset: Any, rows: _Rows) -> None:
        super().__init__()
        self.dataset, self._rows = dataset, rows

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration, where the stream is shuffled."""
        self.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[Sample]:
        from datasets.distributed import split_dataset_by_node

        rank, world = rank_and_world()
        worker, workers = worker_and_workers()
        dataset = self.dataset if world == 1 else split_dataset_by_node(self.dataset, rank, world)
        for number, row in enumerate(dataset):  # inside of a worker, it gives that worker's share
            yield self._rows.sample(row, number if world * workers == 1 else f"{rank}/{worker}/{number}")
