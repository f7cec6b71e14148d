"""Devices and processes: one process on a CPU or a GPU, or several under `torchrun` / `accelerate launch`.

Every process reads its share of each global batch; gradients are averaged. When an objective's loss, averaged
over the processes, is the loss of the global batch, several processes give the single process's numbers.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor

from sensorium import speed
from sensorium.data.sample import Batch
from sensorium.training.run import TrainingError


def start(batch_size: int) -> Accelerator:
    """Join the processes that were launched, on a GPU each where there are GPUs, else on the CPU (gloo).

    Precision is not left to accelerate: runs of different precision may follow each other in one process.
    Raises TrainingError when the global batch does not divide by the processes.
    """
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    if batch_size % accelerator.num_processes:
        raise TrainingError(
            f"batch_size={batch_size} does not divide by {accelerator.num_processes} processes; set "
            f"batch_size={batch_size - batch_size % accelerator.num_processes or accelerator.num_processes}"
        )
    return accelerator


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """What "auto", "bf16" or "fp32" means on this device: the autocast type, None for none."""
    if precision == "bf16" or (precision == "auto" and speed.inference_dtype(device) == torch.bfloat16):
        return torch.bfloat16
    return None


def gather(value: Any) -> list[Any]:
    """The value of every process, in order of rank."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def to_device(thing: Any, device: torch.device) -> Any:
    """A batch with its tensors (in dicts, lists, tuples and dataclasses) on the device; the rest as it is."""
    if isinstance(thing, Tensor | Batch):
        return thing.to(device, non_blocking=True)
    if isinstance(thing, dict):
        return {key: to_device(value, device) for key, value in thing.items()}
    if isinstance(thing, list):
        return [to_device(value, device) for value in thing]
    if isinstance(thing, tuple):
        moved = [to_device(value, device) for value in thing]
        return type(thing)(*moved) if hasattr(thing, "_fields") else tuple(moved)
    if is_dataclass(thing) and not isinstance(thing, type):
        return replace(
            thing, **{f.name: to_device(getattr(thing, f.name), device) for f in fields(thing) if f.init}
        )
    return thing
