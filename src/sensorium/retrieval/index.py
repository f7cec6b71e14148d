"""`Index`: a table of vectors on disk, searched by words, a picture, a sound, a clip or a vector.

Index.create(folder, model).add(source) -> LanceDB table -> index.search(text="a red apple") -> [Hit, …]
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sensorium.media import LIMITS, Limits
from sensorium.retrieval import approximate, rows
from sensorium.retrieval.items import Addable, Item, items_of
from sensorium.retrieval.loading import Loaded, chunks_of
from sensorium.retrieval.nearest import Hit as Hit
from sensorium.retrieval.nearest import nearest
from sensorium.retrieval.query import Model, check_filter, condition, query_vector
from sensorium.retrieval.set_aside import SetAside

FORMAT = 1
SETTINGS, LOCK, QUARANTINE, TABLE = "index.json", ".lock", "quarantine.jsonl", "rows"
SMALL_FRAGMENTS = 32  # commits that are merged into one when an add ends
STALE_SHARE = 0.2  # share of rows outside the approximation at which it is built again


@dataclass(frozen=True)
class Added:
    """What an `add` did.

    known: had been there already; bad: set aside, see the index's quarantine.jsonl; reasons: why, by id
    """

    added: int
    known: int
    bad: int
    reasons: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.added:,} added, {self.known:,} already there, {self.bad:,} bad"


class Index:
    """A folder that holds one LanceDB table of vectors, and the identity of the model that made them.

    Rows are known by the sha256 of their content: adding the same again adds nothing, an add that was
    interrupted goes on where its last commit was, and a file that changed or moved replaces its old row.
    Processes that add at the same time take turns at committing (a lock file).
    """

    def __init__(self, folder: str | os.PathLike, model: Model) -> None:
        """Use `Index.create` or `Index.open`."""
        self.folder, self.model = Path(folder), model
        self._lock = FileLock(self.folder / LOCK)
        # Zero: every search sees what other processes have committed.
        self._db = lancedb.connect(self.folder, read_consistency_interval=timedelta(0))
        with self._lock:
            if not any((self.folder / f"{TABLE}.lance" / "_versions").glob("*")):
                self._db.create_table(TABLE, schema=rows.schema(model.width))
        self._table = self._db.open_table(TABLE)
        self._known: dict[str, str] = {}  # key -> path
        self._key_of: dict[str, str] = {}  # path -> key
        self._version = -1

    @classmethod
    def create(cls, folder: str | os.PathLike, model: Model, exist_ok: bool = False) -> Index:
        """A new index in a new or empty folder; with `exist_ok`, the one that stands there already."""
        folder = Path(folder)
        if (folder / SETTINGS).exists():
            if exist_ok:
                return cls.open(folder, model)
            raise ValueError(
                f"{folder}: an index stands here already; expected a new folder. Open it with "
                f"Index.open({str(folder)!r}, model), or pass exist_ok=True"
            )
        if folder.exists() and any(entry.name != LOCK for entry in folder.iterdir()):
            raise ValueError(
                f"{folder}: got a folder with other things in it; expected a new or an empty one"
            )
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK):
            if not (folder / SETTINGS).exists():  # another process may have been first
                made = {
                    "format": FORMAT,
                    "model": model.identity,
                    "width": model.width,
                    "source": model.source,
                }
                _write(folder / SETTINGS, made | {"modalities": list(model.modalities), "approximate": None})
        return cls.open(folder, model)

    @classmethod
    def open(cls, folder: str | os.PathLike, model: Model) -> Index:
        """An index that exists. A model other than the one that made it is refused: its space is another."""
        folder = Path(folder)
        if not (folder / SETTINGS).exists():
            raise ValueError(f"{folder}: no index here; make one with Index.create({str(folder)!r}, model)")
        settings = _read(folder / SETTINGS)
        if settings["format"] != FORMAT:
            raise ValueError(f"{folder}: got index format {settings['format']}; this version reads {FORMAT}")
        if (settings["model"], settings["width"]) != (model.identity, model.width):
            raise ValueError(
                f"{folder}: this index was made by another model, so its vectors lie in another space.\n"
                f"  made by:  {settings['model']} (width {settings['width']})\n"
                f"  got:      {model.identity} (width {model.width})\n"
                f"Load the model that made it, or build a new index in another folder"
            )
        return cls(folder, model)

    def __len__(self) -> int:
        return self._table.count_rows()

    # ---- adding --------------------------------------------------------------------------------------------

    def add(
        self,
        source: Addable,
        columns: Sequence[str] | None = None,
        fields: Sequence[str] | None = None,
        limits: Limits = LIMITS,
        limit_share: float = 0.05,
        approximate_beyond: int | None = 200_000,
        progress: bool = True,
    ) -> Added:
        """Embed and add what is not there yet.

        source:             a folder (walked), a file, several of them, or `Sample`s
        columns:            which columns of the samples; all that the model can embed by default
        fields:             which of the samples' fields become columns to filter on; all by default.
                            A folder's files have one, `folder`, the sub-folder they lie in
        limits:             how large media may be
        limit_share:        above this share of files that cannot be decoded the run stops; below it they are
                            listed with their reasons in quarantine.jsonl
        approximate_beyond: from this number of rows on, searches use IVF-PQ; its recall is measured and
                            printed. None: always exact
        """
        aside = SetAside(self.folder / QUARANTINE, limit_share)
        self._learn_keys()
        items, total = items_of(source, self.model.modalities, columns, fields)
        added = known = 0
        with (
            contextlib.closing(chunks_of(items, self._is_known, limits)) as chunks,
            _bar(progress, total) as advance,
        ):
            for chunk in chunks:
                fresh: dict[str, Loaded] = {}
                for one in chunk:
                    if one.error is not None:
                        aside.add(one.item, one.error)
                        continue
                    aside.good += 1
                    if one.media is not None:
                        fresh.setdefault(one.key, one)
                committed = self._commit(list(fresh.values())) if fresh else 0
                added += committed
                known += sum(one.error is None for one in chunk) - committed
                advance(len(chunk))
        aside.check()
        aside.write()
        if added:
            self._tidy(approximate_beyond, progress)
        return Added(added, known, len(aside.bad), {one["id"]: one["reason"] for one in aside.bad})

    def _is_known(self, item: Item, key: str) -> bool:
        """Whether the content is there. Loading threads call it; only the main thread writes the dicts."""
        if key not in self._known:
            return False
        path = self._known[key]
        moved = path and item.path and path != item.path and not os.path.exists(path)
        return not moved

    def _learn_keys(self) -> None:
        """Read which contents are there, unless nobody else has committed since we last knew."""
        if self._table.version == self._version:
            return
        there = self._table.search().select(["key", "path"]).limit(None).to_arrow()
        self._known = dict(zip(there["key"].to_pylist(), there["path"].to_pylist()))
        self._key_of = {path: key for key, path in self._known.items() if path}
        self._version = self._table.version

    def _commit(self, fresh: list[Loaded]) -> int:
        """Embed loaded items of one modality and commit those that nobody else has added meanwhile."""
        modality = fresh[0].item.modality
        vectors = np.asarray(self.model.embed(modality, [one.media for one in fresh]), np.float32)
        if vectors.shape != (len(fresh), self.model.width) or not np.isfinite(vectors).all():
            raise ValueError(
                f"{self.model.identity}: embedding {len(fresh)} {modality} items gave {vectors.shape}"
                f"{'' if np.isfinite(vectors).all() else ' with NaN or infinity'}; "
                f"expected finite float32[{len(fresh)}, {self.model.width}]"
            )
        with self._lock:
            self._learn_keys()
            new = [n for n, one in enumerate(fresh) if not self._is_known(one.item, one.key)]
            if not new:
                return 0
            kept = [fresh[n] for n in new]
            outdated = {one.key for one in kept if one.key in self._known}  # its old path is gone
            # A file whose content changed. Only files: the columns of a sample may share one path.
            paths = [one.item.path for one in kept if not one.item.column]
            outdated |= {self._key_of[path] for path in paths if path in self._key_of}
            # Deleted first: should we be stopped in between, the next add finds them missing and adds them.
            if outdated:
                self._table.delete(f"key IN ({rows.quoted(outdated)})")
            self._table.add(rows.table(self._table, kept, vectors[new]))
            for key in outdated:
                self._key_of.pop(self._known.pop(key), None)
            self._known |= {one.key: one.item.path for one in kept}
            self._key_of |= {one.item.path: one.key for one in kept if one.item.path}
            self._version = self._table.version
        return len(kept)

    def _tidy(self, approximate_beyond: int | None, progress: bool) -> None:
        """Merge small commits, and build the approximation when the table has grown enough."""
        with self._lock:
            statistics: Any = self._table.stats()
            if statistics["fragment_stats"]["num_small_fragments"] > SMALL_FRAGMENTS:
                self._table.optimize()
            settings = _read(self.folder / SETTINGS)
            built = settings["approximate"]["rows"] if settings["approximate"] else 0
            if approximate_beyond is not None and len(self) > max(
                approximate_beyond, 256, built * (1 + STALE_SHARE)
            ):
                settings["approximate"] = approximate.build(self._table, self.model.width).as_dict()
                _write(self.folder / SETTINGS, settings)
                if progress:
                    Console(stderr=True).print(str(approximate.Approximation(**settings["approximate"])))

    # ---- deleting ------------------------------------------------------------------------------------------

    def delete(self, ids: str | Sequence[str] | None = None, where: str | None = None) -> int:
        """Delete rows by the ids of their samples or files, or by a filter; returns how many."""
        if (ids is None) is (where is None):
            raise ValueError("delete: expected either ids=[…] or where='…', one of them")
        if ids is not None:
            ids = [ids] if isinstance(ids, str) else list(ids)
            if not ids:
                return 0
            where = f"id IN ({rows.quoted(ids)})"
        assert where is not None
        with self._lock:
            check_filter(self._table, where)
            deleted: Any = self._table.delete(where)
        return int(deleted.num_deleted_rows)

    # ---- searching -----------------------------------------------------------------------------------------

    def search(
        self,
        text: str | None = None,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
        vector: np.ndarray | None = None,
        where: str | None = None,
        top_k: int = 10,
        modality: str | Sequence[str] | None = None,
        exact: bool | None = None,
    ) -> list[Hit]:
        """The nearest rows, best first.

        text:     words
        image, audio, video: a path, bytes, a `Source`, or decoded media
        vector:   float[width] of the index's space. Several queries at once are averaged as unit vectors
        where:    an SQL condition on columns: "split = 'test' AND year > 2000"
        modality: only rows of this one or these
        exact:    True compares with every row; by default the approximation is used where one was built
        """
        given = {"text": text, "image": image, "audio": audio, "video": video}
        vector = query_vector(self.model, given, vector)
        return self.search_many(vector[None], where, top_k, modality, exact)[0]

    def search_many(
        self,
        vectors: np.ndarray,
        where: str | None = None,
        top_k: int = 10,
        modality: str | Sequence[str] | None = None,
        exact: bool | None = None,
    ) -> list[list[Hit]]:
        """As `search` for each of N unit vectors, float32[N, width], in one pass over the table."""
        if top_k < 1:
            raise ValueError(f"top_k: got {top_k}; expected at least 1")
        wanted = condition(self._table, where, modality, self.model.modalities)
        built = _read(self.folder / SETTINGS)["approximate"]
        if exact is False and not built:
            raise ValueError(
                "exact=False: nothing approximate was built; add(…, approximate_beyond=1000) does"
            )
        return nearest(self._table, vectors, wanted, top_k, None if exact or not built else built["nprobes"])

    def row(self, id: str, columns: Sequence[str]) -> dict[str, Any] | None:
        """Columns of the row of a sample or file, such as "vector" or "thumbnail"; None when there is none."""
        query = self._table.search().where(f"id IN ({rows.quoted([id])})").select(list(columns))
        found = query.limit(1).to_arrow().to_pylist()
        return found[0] if found else None

    def stats(self) -> dict[str, Any]:
        """Rows, rows of each modality, filterable columns, bytes on disk, the model, the approximation."""
        modalities = self._table.search().select(["modality"]).limit(None).to_arrow()["modality"]
        counts = {v["values"]: v["counts"] for v in modalities.value_counts().to_pylist()}
        settings = _read(self.folder / SETTINGS)
        return {
            "rows": len(modalities),
            "modalities": dict(sorted(counts.items())),
            "columns": [c.name for c in self._table.schema if c.name not in rows.HIDDEN],
            "bytes": sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file()),
            "model": settings["model"],
            "width": settings["width"],
            "approximate": settings["approximate"],
        }


def model_of(folder: str | os.PathLike) -> str:
    """The identity of the model that an index was made with. Raises ValueError when there is no index."""
    if not (Path(folder) / SETTINGS).exists():
        raise ValueError(f"{folder}: no index here; make one: sensorium index {folder} YOUR-MEDIA")
    return str(_read(Path(folder) / SETTINGS)["model"])


def made_by(folder: str | os.PathLike) -> str:
    """The folder of the model that an index was made with. Raises ValueError when it is not on record."""
    model_of(folder)
    source = str(_read(Path(folder) / SETTINGS)["source"])
    if not source:
        raise ValueError(f"{folder}: does not say which model made it; name its checkpoint with --model")
    return source


@contextlib.contextmanager
def _bar(wanted: bool, total: int | None) -> Iterator[Any]:
    """A progress bar on standard error, nothing where that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (wanted and console.is_terminal)) as bar:
        task = bar.add_task("adding", total=total)
        yield lambda number: bar.advance(task, number)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, settings: Mapping[str, Any]) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
