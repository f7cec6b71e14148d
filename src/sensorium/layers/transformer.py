"""What stands beside attention in a transformer's block."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class FeedForward(nn.Module):
    """float[B, T, D] -> float[B, T, D], position by position: lift to `hidden`, activation, lower.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.3; activation None: exact GELU (BERT's).
    """

    def __init__(
        self, width: int, hidden: int, *, activation: nn.Module | None = None, bias: bool = True
    ) -> None:
        super().__init__()
        self.lift = nn.Linear(width, hidden, bias=bias)
        self.activation = nn.GELU() if activation is None else activation
        self.lower = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lower(self.activation(self.lift(x)))
        return out


class SquaredReLU(nn.Module):
    """max(0, x)² (So et al. 2021, arXiv:2109.08668, section 4.1)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()
