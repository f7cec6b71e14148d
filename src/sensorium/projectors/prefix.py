"""`PrefixProjector`: one pooled vector -> a few tokens in front of the words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.projectors.projector import Projector, from_tokens


class PrefixProjector(Projector):
    """Features[B, T, W] -> Features[B, length, D], from the pooled vector alone; the tokens are left behind.

        pooled ──► linear (W -> length · D) ──► length tokens

    The linear kind of prefix of ClipCap (Mokady et al. 2021, arXiv:2111.09734, section 3), for a language model that
    is to know what a picture shows and need not know where.

    linear: W -> length · D
    length: tokens out an item

    An item without any real token gives masked tokens. Raises ValueError when the linear layer's width is no
    multiple of the length.
    """

    length: int

    def __init__(self, linear: nn.Linear, length: int) -> None:
        super().__init__()
        if length < 1 or linear.out_features % length:
            raise ValueError(
                f"got a linear layer to {linear.out_features} and length={length}; expected a multiple of the length"
            )
        self.linear, self.length = linear, length
        self.width = linear.out_features // length

    def start(self, mean: Tensor, matrix: Tensor, offset: Tensor) -> None:
        """Set the map: x -> (x − mean) @ matrix + offset. float[W], float[W, length · D], float[length · D]."""
        with torch.no_grad():
            self.linear.weight.copy_(matrix.T)
            self.linear.bias.copy_(offset - mean @ matrix)

    def forward(self, features: Features) -> Features:
        tokens = self.linear(features.pooled).view(-1, self.length, self.width)
        return from_tokens(tokens, features.mask.any(1, keepdim=True).expand(-1, self.length))
