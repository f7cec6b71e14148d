"""Which process of a run this is, and which loader worker of that process: by these, data is shared out."""

from __future__ import annotations

import os

import torch.distributed as dist
from torch.utils.data import get_worker_info


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are: of the joined group, else as launchers announce it."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def worker_and_workers() -> tuple[int, int]:
    """This loader worker's number and how many there are; (0, 1) outside of one."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)
