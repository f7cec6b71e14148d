"""Parquet files that come out byte for byte the same each time, and their recorded hashes.

rows -> parquet -> SHA256SUMS -> check
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

DATASETS = Path(__file__).resolve().parents[1] / "datasets"
SUMS = "SHA256SUMS"


def write(rows: list[dict], schema: pa.Schema, path: Path, *, rows_a_group: int, media: bool = False) -> None:
    """Rows in the order given. Media bytes are compressed already: `media` stores a table as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.Table.from_pylist(rows, schema=schema),
        path,
        row_group_size=rows_a_group,
        compression="none" if media else "zstd",
        compression_level=None if media else 19,
        use_dictionary=not media,
        write_statistics=not media,
    )


def write_mixed(rows: list[dict], schema: pa.Schema, path: Path, *, rows_a_group: int, media: str) -> None:
    """The same for a table whose column `media` holds bytes beside many words, which are compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=schema)
    metadata: list = []
    pq.write_table(table.slice(0, 0), pa.BufferOutputStream(), metadata_collector=metadata)
    leaves = [metadata[0].schema.column(n).path for n in range(len(metadata[0].schema))]
    words = [leaf for leaf in leaves if leaf != media]
    pq.write_table(
        table,
        path,
        row_group_size=rows_a_group,
        compression={leaf: "zstd" if leaf in words else "none" for leaf in leaves},
        compression_level=dict.fromkeys(words, 19),
        use_dictionary=words,
        write_statistics=words,
    )


def fraction_hash(key: str) -> int:
    """A number in 0 … 2^64 - 1 that depends on nothing but the key: what splits and folds are drawn from."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def record(folder: Path) -> None:
    """Writes SHA256SUMS over the parquet files of the folder, in the format of `sha256sum`."""
    lines = [f"{sha256(file)}  {file.name}\n" for file in sorted(folder.glob("*.parquet"))]
    (folder / SUMS).write_text("".join(lines))


def check(folder: Path) -> list[str]:
    """What differs from SHA256SUMS, one line a file; empty when all is as recorded."""
    if not (folder / SUMS).exists():
        return [f"{folder / SUMS}: missing"]
    wanted = dict(reversed(line.split(maxsplit=1)) for line in (folder / SUMS).read_text().splitlines())
    found = {file.name for file in folder.glob("*.parquet")}
    wrong = [f"{folder / name}: not in {SUMS}" for name in sorted(found - set(wanted))]
    for name, digest in wanted.items():
        if name not in found:
            wrong.append(f"{folder / name}: missing")
        elif (got := sha256(folder / name)) != digest:
            wrong.append(f"{folder / name}: got sha256 {got}; expected {digest}")
    return wrong


def report_check(folder: Path) -> None:
    """Says that the folder is as recorded, or ends the program with the list of what is not."""
    if wrong := check(folder):
        raise SystemExit("\n".join(wrong))
    print(f"{folder}: every file is as recorded in {SUMS}")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
