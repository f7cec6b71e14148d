"""What makes Sensorium fast on a CPU: the one place for it, with one switch.

`SENSORIUM_FAST=0` in the environment turns all of it off: plain float32, unfolded, the system's own
allocator.

| what                           | where                           | results differ by                |
|--------------------------------|---------------------------------|----------------------------------|
| allocator keeps its memory     | `apply`, once a process         | nothing                          |
| as many threads as usable CPUs | `apply`, once a process         | order of sums                    |
| bfloat16 where the CPU has it, | `encode`, `inference_dtype`     | cosine to float32 ≥ 0.998        |
|   each filter's sum kept       | `round_keeping_sums`            |                                  |
| batch norms folded             | `encode`, `fold_batch_norm`     | ≤ 1e-4 of the largest value      |
| channels-last pictures         | `encode`, `inference_copy`      | order of sums                    |
| each batch on a core of its own| `encode`, `a_core_each`         | order of sums                    |
| batches of like length         | `encode`                        | ≤ 1e-4 of the largest value      |
| sound trimmed, not padded      | `encoders.audio.WhisperEncoder` | other features than at 30 s      |

`encode` is `encoders.Encoder.encode`; what is said of the largest value holds in float32.
Trimming belongs to the encoder and does not follow the switch: features must not depend on it. The gains are
measured by `benchmarks/`.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import nn

    Module = TypeVar("Module", bound=nn.Module)

# glibc's malloc.h: mallopt parameters, and what we set them to. With the defaults every tensor above 32 MB is
# mapped and unmapped anew on each operation, and its pages are faulted in again each time.
MALLOPT = {
    "M_MMAP_MAX": (-4, 0),  # big blocks come from the heap, not from mappings of their own
    "M_TRIM_THRESHOLD": (-1, 2**31 - 1),  # bytes of free heap to keep rather than give back
    "M_TOP_PAD": (-2, 256 << 20),  # bytes to ask for at once
    # Threads share one heap: those of their own end at 64 MB, and what computes in one would map and fault in again
    "M_ARENA_MAX": (-8, 1),
}

Item = TypeVar("Item")
Result = TypeVar("Result")

_applied: list[str] = []  # what `apply` did, for `describe`; filled once


def enabled() -> bool:
    """False when SENSORIUM_FAST=0."""
    return os.environ.get("SENSORIUM_FAST", "1") != "0"


def apply() -> None:
    """Set up this process, before its first tensor: allocator and threads. Repeating it does nothing."""
    if _applied or not enabled():
        return
    _applied.append(f"allocator: {_tune_allocator()}")
    _applied.append(f"threads: {_tune_threads()}")


def usable_cpus() -> int:
    """CPUs this process may use: its affinity, and its share under a container's quota (cgroup v2)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, round(int(quota) / int(period))))


def inference_dtype(device: torch.device | str = "cpu") -> torch.dtype:
    """bfloat16 where the device computes in it (AVX512-BF16, AMX, recent GPUs), else float32."""
    import torch

    device = torch.device(device)
    if not enabled():
        return torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if device.type == "cpu" and _cpu_has_bf16() else torch.float32


def a_core_each(
    task: Callable[[Item], Result], items: Iterable[Item], device: torch.device | str = "cpu"
) -> Iterator[Result]:
    """`task` of every item, in order, on as many threads as torch uses, each item computed on one core.

    Batches share nothing, so nobody waits: an operation split over cores waits for the slowest of them at its end,
    and, where other work has a core for itself, for a whole turn of the scheduler. Shared cores gain two to three
    times by it; quiet ones lose up to a fifth on pictures, whose batches compete for one cache.
    """
    import torch

    workers = torch.get_num_threads() if torch.device(device).type == "cpu" and enabled() else 1
    if workers == 1:
        yield from map(task, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(task, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            torch.set_num_threads(workers)  # what a worker sets is also the default of threads to come


def fold_batch_norm(module: Module) -> Module:
    """Multiply evaluation-mode batch norms into the convolutions before them, in place; returns `module`.

    Folded are the pairs whose order is certain: neighbours in an `nn.Sequential`, and modules that consist of
    a convolution, a batch norm and at most an activation (`transformers`' ResNet layers).
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    for parent in list(module.modules()):
        children = list(parent.named_children())
        in_order = isinstance(parent, nn.Sequential) or (
            len(children) in (2, 3) and not any(True for child in children[2:] for _ in child[1].parameters())
        )
        if not in_order:
            continue
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(children):
            if isinstance(conv, convolutions) and isinstance(norm, norms) and norm.running_mean is not None:
                if conv.training or norm.training:
                    raise ValueError("fold_batch_norm: got a module in training mode; call .eval() first")
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    return module


def inference_copy(module: Module, dtype: torch.dtype) -> Module:
    """A frozen evaluation-mode copy: batch norms folded, weights in `dtype`, convolutions channels-last."""
    import copy

    import torch
    from torch import nn

    fast = fold_batch_norm(copy.deepcopy(module).eval().requires_grad_(False))
    for part in fast.modules():
        if isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and dtype != torch.float32:
            part.weight.copy_(round_keeping_sums(part.weight, dtype))
    fast = fast.to(dtype)
    for part in fast.modules():
        if isinstance(part, nn.Conv2d):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fast


def round_keeping_sums(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """float32[O, I, …] filters -> values of `dtype` (still float32), each filter's sum kept.

    What a flat surface gives is the sum of a filter's weights; rounded one by one their errors add up to a
    constant error of the channel. Here each error is carried to the next weight, from the largest to the
    smallest, which takes up the rest. On 281 drawn things through EfficientNet-Lite0 this raised the smallest
    cosine to float32 from 0.9961 to 0.9985, at no cost.
    """
    import torch

    filters = weight.flatten(2).flatten(0, 1)  # [O·I, taps]
    order = filters.abs().argsort(1, descending=True)
    sorted_ = filters.gather(1, order)
    rounded, carry = torch.empty_like(sorted_), torch.zeros_like(sorted_[:, 0])
    for tap in range(sorted_.shape[1]):
        wanted = sorted_[:, tap] + carry
        rounded[:, tap] = wanted.to(dtype).float()
        carry = wanted - rounded[:, tap]
    return torch.empty_like(filters).scatter(1, order, rounded).view_as(weight)


def describe() -> dict[str, str]:
    """What is in force here, for `sensorium doctor`."""
    import torch

    return {
        "SENSORIUM_FAST": "on" if enabled() else "off",
        "CPUs": f"{usable_cpus()} usable, torch uses {torch.get_num_threads()} threads",
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16 on this CPU": "yes" if _cpu_has_bf16() else "no",
        "inference dtype": str(inference_dtype()).removeprefix("torch."),
        "set up": "; ".join(_applied) or "nothing",
    }


def _cpu_has_bf16() -> bool:
    import torch

    # Without these instructions bfloat16 is emulated and slower than float32.
    return torch.backends.mkldnn.is_available() and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


def _tune_allocator() -> str:
    name, version = platform.libc_ver()
    if name != "glibc":
        return f"left alone ({name or 'no glibc'})"
    mallopt = ctypes.CDLL(None).mallopt
    refused = [key for key, (number, value) in MALLOPT.items() if mallopt(number, value) != 1]
    return f"glibc {version} refused {', '.join(refused)}" if refused else f"glibc {version} keeps its memory"


def _tune_threads() -> str:
    if "OMP_NUM_THREADS" in os.environ:
        return f"left at OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}"
    import torch

    if torch.get_num_threads() > usable_cpus():
        torch.set_num_threads(usable_cpus())
    return str(torch.get_num_threads())
