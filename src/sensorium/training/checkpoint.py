"""Checkpoints: folders that are written whole or not at all, and that are safe to open.

    step-00000120/
        system.json         system name, its arguments, versions, the frozen parts by source and hash
        model.safetensors   what was trained (its average when the run has `ema`), and whatever has no source
        README.md           the model card
        state/              what resuming needs and using the model does not:
            optimizer.safetensors
            model.safetensors   the raw weights, only with `ema`
            run.json            settings, step, position in the data
            random.json         the random state of every process

Nothing here is a pickle and nothing in a checkpoint is executed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from sensorium.training.adaptation import frozen_modules
from sensorium.training.checkpoint_files import (
    CheckpointError,
    flush_folder,
    naming,
    read_json,
    read_tensors,
    reason,
    remove,
    write_json,
    write_tensors,
    write_text,
)

FORMAT = 1
STEP = re.compile(r"step-(\d{8,})")
# In names of weights that were added to a module and so have no source, learning or not
ADAPTERS = (".lora_", ".adapter.")
LIBRARIES = ("sensorium", "torch", "transformers", "accelerate", "safetensors", "numpy")


@dataclass(frozen=True)
class Checkpoint:
    """What system.json says.

    frozen: part name -> {"source": where its weights come from, "sha256": of its frozen tensors, "tensors":
            how many}
    """

    folder: Path
    system: str
    args: dict[str, Any]
    versions: dict[str, str]
    step: int
    frozen: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Entries:
    """A model's persistent tensors, split into what a checkpoint saves and what it refers to.

    saved:      name -> tensor
    referenced: part name -> (its source, name -> tensor)
    """

    saved: dict[str, Tensor]
    referenced: dict[str, tuple[str, dict[str, Tensor]]]


def entries(model: nn.Module) -> Entries:
    """Split a model's tensors. Referred to are those that do not learn, of modules with a `source`; the rest
    is saved.

    A module whose weights were changed after loading must have its `source` set to None, or the reference is
    wrong (and loading will say so: the hash differs).
    """
    sources = {name: module.source for name, module in model.named_modules() if _has_source(module)}
    frozen = {name for name, _ in frozen_modules(model)}
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    saved: dict[str, Tensor] = {}
    referenced: dict[str, tuple[str, dict[str, Tensor]]] = {}
    for name, tensor in _tensors(model).items():
        owner = name.rpartition(".")[0]
        part = _part(name, sources)
        is_parameter = isinstance(tensor, nn.Parameter)
        changes = name in learning if is_parameter else owner not in frozen
        if part is None or changes or added(name):
            saved[name] = tensor.detach()
        else:
            referenced.setdefault(part, (str(sources[part]), {}))[1][name] = tensor.detach()
    return Entries(saved, referenced)


def added(name: str) -> bool:
    """Whether weights of this name were added to a model: LoRA's (`backbones.lora`) and adapters' (`layers.adapt`)."""
    return any(mark in name for mark in ADAPTERS)


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, types, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def frozen_parts(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The `frozen` entry of system.json for a model as it stands."""
    return {
        part: {"source": source, "sha256": fingerprint(tensors), "tensors": len(tensors)}
        for part, (source, tensors) in entries(model).referenced.items()
    }


def save(
    checkpoints: Path,
    step: int,
    *,
    system: str,
    args: Mapping[str, Any],
    frozen: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    card: str,
    state_json: Mapping[str, Any],
    state_tensors: Mapping[str, Mapping[str, Tensor]],
    keep: int,
) -> Path:
    """Write `checkpoints/step-…` atomically and drop all but the newest `keep`.

    weights:       what goes to model.safetensors
    state_json:    file name -> JSON value, into state/
    state_tensors: file name -> tensors, into state/

    All is written to a hidden folder, flushed to the disk and renamed: a process that is killed, or a disk
    that is full, leaves the earlier checkpoints and never half of this one. Raises CheckpointError.
    """
    final = checkpoints / f"step-{step:08d}"
    if final.exists():
        return final
    fresh = checkpoints / f".{final.name}.{os.getpid()}.part"
    try:
        (fresh / "state").mkdir(parents=True)
        write_json(
            fresh / "system.json",
            {
                "format": FORMAT,
                "system": system,
                "args": dict(args),
                "step": step,
                "frozen": dict(frozen),
                "versions": _versions(),
            },
        )
        write_tensors(fresh / "model.safetensors", weights, fresh / "system.json")
        for name, tensors in state_tensors.items():
            write_tensors(fresh / "state" / name, tensors, fresh / "system.json")
        for name, value in state_json.items():
            write_json(fresh / "state" / name, value)
        write_text(fresh / "README.md", card)
        flush_folder(fresh / "state")
        flush_folder(fresh)
        fresh.rename(final)
        flush_folder(checkpoints)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise CheckpointError(
            f"cannot write the checkpoint of step {step} to {checkpoints}: {reason(error)}; make room or "
            "access there, or set another folder=…; the checkpoints before it are whole"
        ) from error
    for _, old in finished(checkpoints)[:-keep]:
        remove(old)
    return final


def write_card(checkpoint: Path, card: str) -> None:
    """Replace the model card of a written checkpoint, atomically (its scores come after its weights)."""
    fresh = checkpoint / f".README.{os.getpid()}.part"
    try:
        write_text(fresh, card)
        fresh.replace(checkpoint / "README.md")
    except OSError as error:
        raise CheckpointError(f"cannot write the model card to {checkpoint}: {reason(error)}") from error


def finished(checkpoints: Path) -> list[tuple[int, Path]]:
    """The whole checkpoints of a folder as (step, path), oldest first."""
    if not checkpoints.is_dir():
        return []
    found = [(STEP.fullmatch(path.name), path) for path in checkpoints.iterdir() if path.is_dir()]
    return sorted((int(name.group(1)), path) for name, path in found if name)


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint's name."""
    return int(checkpoint.name.removeprefix("step-"))


def discard_unfinished(checkpoints: Path) -> None:
    """Remove what killed processes left behind."""
    for path in checkpoints.glob(".*.part"):
        shutil.rmtree(path, ignore_errors=True)


def find(folder: str | Path) -> Path:
    """The checkpoint that a folder is, or the newest one of a run's folder. Raises CheckpointError."""
    folder = Path(folder)
    if (folder / "system.json").is_file():
        return folder
    found = finished(folder / "checkpoints") or finished(folder)
    if not found:
        raise CheckpointError(
            f"{folder} is not a checkpoint and has none below it; expected a folder with system.json, or a "
            "run's folder with checkpoints/step-…"
        )
    return found[-1][1]


def read(folder: str | Path) -> Checkpoint:
    """Read system.json of a checkpoint or of a run's newest one. Raises CheckpointError."""
    folder = find(folder)
    about = read_json(folder / "system.json")
    with naming(folder / "system.json"):
        if about["format"] != FORMAT:
            raise CheckpointError(
                f"{folder} has checkpoint format {about['format']}, this version reads {FORMAT}; use the "
                f"sensorium that wrote it ({about['versions']['sensorium']})"
            )
        return Checkpoint(
            folder, about["system"], about["args"], about["versions"], about["step"], about["frozen"]
        )


def load_model(folder: str | Path, builder_of: Callable[[str], Callable[..., nn.Module]]) -> nn.Module:
    """The model of a checkpoint (or of a run's newest one), trained weights in it, in evaluation mode.

    builder_of: the name of a system -> its builder: `systems.system_builder`

        model = load_model("runs/quickstart", system_builder)

    Raises CheckpointError as `load_weights` does.
    """
    about = read(folder)
    model = builder_of(about.system)(**about.args)
    load_weights(about.folder, model)
    return model.eval()


def load_weights(folder: str | Path, model: nn.Module) -> None:
    """Put a checkpoint's trained weights into a model that its system built.

    Raises CheckpointError, naming the tensors, when they are not the model's; when tensors of the model are
    neither in the checkpoint nor in its frozen parts; and when a frozen part is not the one that was trained
    with.
    """
    checkpoint = read(folder)
    file = checkpoint.folder / "model.safetensors"
    weights = read_tensors(file)
    put(weights, model, file)
    check_frozen(checkpoint, model, set(weights))


def put(weights: Mapping[str, Tensor], model: nn.Module, file: Path) -> None:
    """Copy tensors into the model's of the same names and shapes; where one does not fit, none is copied."""
    tensors = _tensors(model)
    if strange := sorted(set(weights) - set(tensors)):
        raise CheckpointError(
            f"{file} has {len(strange)} tensors that this model lacks: {_some(strange)}; build the model "
            "with the arguments in its system.json"
        )
    for name, weight in weights.items():
        if weight.shape != tensors[name].shape:
            raise CheckpointError(
                f"{file}: {name} is {tuple(weight.shape)}, in this model {tuple(tensors[name].shape)}; build "
                "the model with the arguments in its system.json"
            )
    with torch.no_grad():
        for name, weight in weights.items():
            tensors[name].copy_(weight)


def check_frozen(checkpoint: Checkpoint, model: nn.Module, saved: set[str]) -> None:
    """Compare the model's tensors that a checkpoint does not hold with what it says of its frozen parts.

    saved: names of the tensors that it does hold
    """
    by_part: dict[str, dict[str, Tensor]] = {part: {} for part in checkpoint.frozen}
    astray = []
    for name, tensor in _tensors(model).items():
        if name in saved:
            continue
        part = _part(name, by_part)
        if part is None:
            astray.append(name)
        else:
            by_part[part][name] = tensor
    if astray:
        raise CheckpointError(
            f"{checkpoint.folder} has nothing for {len(astray)} tensors of this model: {_some(astray)}; "
            "build the model with the arguments in its system.json"
        )
    for part, tensors in by_part.items():
        frozen = checkpoint.frozen[part]
        if (found := fingerprint(tensors)) != frozen["sha256"]:
            raise CheckpointError(
                f"the frozen part {part or 'model'} is not the one that {checkpoint.folder} was trained "
                f"with: its {len(tensors)} tensors hash to {found[:12]}, expected {frozen['tensors']} "
                f"tensors of {frozen['sha256'][:12]} from {frozen['source']}; build it from there"
            )


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Persistent tensors by name, a shared one once, parameters as parameters."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


@functools.cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def _part(name: str, parts: Iterable[str]) -> str | None:
    """The innermost of the parts that a tensor lies in; "" is the whole model."""
    return max((part for part in parts if not part or name.startswith(part + ".")), key=len, default=None)


def _has_source(module: nn.Module) -> bool:
    return isinstance(getattr(module, "source", None), str)


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
