"""The files of a checkpoint: written to the disk before anything else is renamed, read with errors that name them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sensorium.training.run import TrainingError


class CheckpointError(TrainingError):
    """A checkpoint that cannot be written, read, or used with this model: which file, why, what to do."""


def read_json(file: Path) -> Any:
    """A checkpoint's JSON file. Raises CheckpointError."""
    with naming(file):
        return json.loads(file.read_text(encoding="utf-8"))


def read_tensors(file: Path) -> dict[str, Tensor]:
    """A checkpoint's safetensors file. Raises CheckpointError."""
    with naming(file):
        return load_file(file)


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Say which file could not be read."""
    try:
        yield
    except (OSError, SafetensorError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"cannot read {file}: {reason(error)}; the checkpoint is damaged or incomplete: copy it again, "
            f"or delete {file.parent.parent if file.parent.name == 'state' else file.parent} to use the one "
            "before it"
        ) from error


def write_tensors(file: Path, tensors: Mapping[str, Tensor], like: Path) -> None:
    """like: a file whose access rights to take; safetensors lets only the owner read."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
    with open(file, "rb") as written:
        os.fsync(written.fileno())
    shutil.copymode(like, file)


def write_json(file: Path, value: Any) -> None:
    write_text(file, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_text(file: Path, text: str) -> None:
    with open(file, "w", encoding="utf-8") as written:
        written.write(text)
        written.flush()
        os.fsync(written.fileno())


def flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(checkpoint: Path) -> None:
    """Under a hidden name first: a process killed while deleting must not leave half a checkpoint either."""
    going = checkpoint.with_name(f".{checkpoint.name}.{os.getpid()}.part")
    checkpoint.rename(going)
    shutil.rmtree(going)


def reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or f"{type(error).__name__}: {error}")
