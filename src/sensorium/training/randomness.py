"""The random state of one process: seed it, capture it, put it back.

Python's `random`, NumPy's global generator, and torch's generators on the CPU and every visible GPU.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_all(*words: int) -> None:
    """Seed every generator from a few whole numbers ≥ 0, e.g. (seed, rank). Equal words, equal numbers."""
    python, numpy, torch_seed = np.random.SeedSequence(words).generate_state(3, np.uint64).tolist()
    random.seed(python)
    np.random.seed(numpy % 2**32)
    torch.manual_seed(torch_seed)


def seed_item(*words: int) -> None:
    """`seed_all` without the GPUs, for loaders: a sixth of the time, and an item is read on the CPU."""
    python, numpy, torch_seed = np.random.SeedSequence(words).generate_state(3, np.uint64).tolist()
    random.seed(python)
    np.random.seed(numpy % 2**32)
    torch.default_generator.manual_seed(torch_seed)


def capture() -> dict[str, Any]:
    """The state of every generator as JSON values."""
    version, words, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    return {
        "python": [version, list(words), gauss],
        "numpy": {
            **numpy,
            "state": {"key": numpy["state"]["key"].tolist(), "pos": int(numpy["state"]["pos"])},
        },
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "cuda": [state.numpy().tobytes().hex() for state in torch.cuda.get_rng_state_all()],
    }


def restore(state: dict[str, Any]) -> None:
    """Put back what `capture` gave."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    numpy = state["numpy"]
    key = np.array(numpy["state"]["key"], dtype=np.uint32)
    np.random.set_state({**numpy, "state": {"key": key, "pos": numpy["state"]["pos"]}})
    torch.set_rng_state(_tensor(state["torch"]))
    torch.cuda.set_rng_state_all([_tensor(text) for text in state["cuda"]])


@contextmanager
def preserved(gpu: bool = True) -> Iterator[None]:
    """Whatever is drawn inside leaves no trace outside. gpu=False: only the CPU's (quick, for loaders)."""
    python, numpy, cpu = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if gpu else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if gpu:
            torch.cuda.set_rng_state_all(cuda)


def _tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
