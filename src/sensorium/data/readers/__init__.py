"""Files that people have -> samples.

folder.py        media files, sub-folders as labels, side-car captions   -> Samples (a list)
table.py         JSONL, JSON, CSV, TSV                                   -> Samples (a list)
parquet.py       Parquet, a row group at a time                          -> ParquetSamples (a sequence)
tar.py           WebDataset tar                                          -> TarSamples (an iterable)
hugging_face.py  `datasets`                                              -> a sequence or an iterable
conversations.py LLaVA's JSON, lists of messages                         -> Samples (a list)
mvsa.py, mosi.py, hateful_memes.py, vqa.py, nlvr2.py, esc50.py
                 published data sets, laid out as they are downloaded    -> Samples (a list)
layouts.py       what these share: what a folder lacks, names of splits
rows.py          what all of them share: one row -> one sample
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium.data.readers import table
from sensorium.data.readers.conversations import read_conversations
from sensorium.data.readers.esc50 import is_esc50, read_esc50
from sensorium.data.readers.folder import METADATA, read_folder
from sensorium.data.readers.hateful_memes import is_hateful_memes, read_hateful_memes
from sensorium.data.readers.hugging_face import read_hugging_face
from sensorium.data.readers.mosi import is_mosi, read_mosi, refuse_pickles
from sensorium.data.readers.mvsa import is_mvsa, read_mvsa
from sensorium.data.readers.nlvr2 import is_nlvr2, read_nlvr2
from sensorium.data.readers.parquet import read_parquet
from sensorium.data.readers.rows import Layout, ReaderError, Samples
from sensorium.data.readers.table import read_table
from sensorium.data.readers.tar import read_tar
from sensorium.data.readers.vqa import answer_vocabulary, is_vqa, read_vqa, within_vocabulary
from sensorium.data.sample import Sample
from sensorium.media import modality_of

__all__ = [
    "ReaderError",
    "Samples",
    "answer_vocabulary",
    "read",
    "read_conversations",
    "read_esc50",
    "read_folder",
    "read_hateful_memes",
    "read_hugging_face",
    "read_mosi",
    "read_mvsa",
    "read_nlvr2",
    "read_parquet",
    "read_table",
    "read_tar",
    "read_vqa",
    "within_vocabulary",
]

TARS = (".tar", ".tar.gz", ".tgz")
# Folders that are laid out as a published data set; each is told by names that no other has.
PUBLISHED: tuple[tuple[Callable[[Path], bool], Callable[..., Samples]], ...] = (
    (is_esc50, read_esc50),
    (is_mvsa, read_mvsa),
    (is_mosi, read_mosi),
    (is_vqa, read_vqa),
    (is_hateful_memes, read_hateful_memes),
    (is_nlvr2, read_nlvr2),
)


def read(
    source: str | os.PathLike | Sequence[str | os.PathLike] | Any,
    columns: Mapping[str, str] | None = None,
    **options: Any,
) -> Sequence[Sample] | Iterable[Sample]:
    """The records of whatever `source` is; a sequence, but for tar files and streams, which are iterables.

        read("photos/")                          a folder of media, or of Parquet or tar files
        read("pairs.jsonl")                      JSONL, JSON, CSV, TSV
        read("rows.parquet")
        read("train-{000..031}.tar")             WebDataset shards; several paths may also be given as a list
        read(datasets.load_dataset(…, split=…))  Hugging Face
        read("photo.jpg")                        one file, one record
        read("MVSA_Single/")                     MVSA, CMU-MOSI and -MOSEI, Hateful Memes, VQA v2, NLVR2, ESC-50

    A folder that is laid out as one of the published data sets is read as that, unless columns says which columns are
    meant: then, and by `read_folder`, it is a folder like any other.

    columns: modality by column, {"image": "image", "title": "text"}; None guesses from names and content
    options: of the reader it comes to: `read_folder`, `read_table`, `read_parquet`, `read_tar`,
             `read_hugging_face`, `read_vqa`, …
    Raises `ReaderError` for what it cannot read as asked. Media that cannot be decoded show up later, when
    they are.
    """
    if type(source).__module__.split(".")[0] == "datasets":
        return read_hugging_face(source, columns, **options)
    if isinstance(source, str | os.PathLike):
        paths = [os.fspath(source)]
    elif (
        isinstance(source, Sequence) and source and all(isinstance(one, str | os.PathLike) for one in source)
    ):
        paths = [os.fspath(one) for one in source]
    else:
        raise ReaderError(
            f"read: got {type(source).__name__}; expected a path, a list of paths or a Hugging Face data set"
        )
    if len(paths) == 1 and columns is None and (of := _published(Path(paths[0]))) is not None:
        return of(paths[0], **options)
    kinds = {_kind(path) for path in paths}
    if len(kinds) > 1:
        raise ReaderError(f"read: got files of several kinds, {sorted(kinds)}; read each kind on its own")
    [kind] = kinds
    if kind == "tar":
        return read_tar(_tars_below(paths), columns, **options)
    if kind == "parquet":
        return read_parquet(paths, columns, **options)
    if kind == "media":
        return _read_files(paths, columns, **options)
    if len(paths) > 1:
        raise ReaderError(f"read: got {len(paths)} of the kind {kind}; read them one by one")
    return (
        read_folder(paths[0], columns, **options)
        if kind == "folder"
        else read_table(paths[0], columns, **options)
    )


def _published(path: Path) -> Callable[..., Samples] | None:
    """The reader of the published data set that a folder is laid out as; None for all other paths."""
    if not path.is_dir():
        return None
    return next((reader for fits, reader in PUBLISHED if fits(path)), None)


def _kind(path: str) -> str:
    """folder, table, parquet, tar or media."""
    lower = path.lower()
    if lower.endswith(TARS):
        return "tar"
    if lower.endswith(".parquet"):
        return "parquet"
    if lower.endswith(table.SUFFIXES):
        return "table"
    if os.path.isdir(path):
        return _kind_of_folder(Path(path))
    if modality_of(path) is not None:
        return "media"
    if not os.path.exists(path):
        raise ReaderError(f"{path}: no such file or folder")
    refuse_pickles(Path(path))
    raise ReaderError(
        f"{path}: expected a folder, a media file, or a file ending in "
        f"{', '.join((*table.SUFFIXES, '.parquet', *TARS))}"
    )


def _kind_of_folder(folder: Path) -> str:
    """What most of the first files below it are; lists of captions count for the media beside them."""
    counts = {"folder": 0, "parquet": 0, "tar": 0}
    for at, _, files in os.walk(folder):
        for name in files:
            if name == "state.json" and "dataset_info.json" in files:
                raise ReaderError(
                    f"{at} was written by save_to_disk: read(datasets.load_from_disk({at!r})) opens it"
                )
            if name.endswith(".parquet") and name not in METADATA:
                counts["parquet"] += 1
            elif name.lower().endswith(TARS):
                counts["tar"] += 1
            elif modality_of(name) is not None:
                counts["folder"] += 1
        if sum(counts.values()) > 100:
            break
    return max(counts, key=lambda kind: counts[kind])


def _tars_below(paths: Sequence[str]) -> list[str]:
    found = []
    for path in paths:
        below = sorted(str(file) for file in Path(path).rglob("*") if file.name.lower().endswith(TARS))
        found += below or [path]
    return found


def _read_files(paths: Sequence[str], columns: Mapping[str, str] | None, **options: Any) -> Samples:
    """Single media files, a record each."""
    modality = columns or {str(modality_of(path)): str(modality_of(path)) for path in paths}
    layout = Layout(modality, None, **options)
    return Samples(layout.sample({str(modality_of(path)): Path(path)}, path, path) for path in paths)
