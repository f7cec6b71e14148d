"""Lets the tests, and the processes they start, import `toy`, and `chat` of tests/data."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parent.parent / "data"))
torch.set_num_threads(1)
