"""The likeliest token without reading all of a float32 head: 8 bits tell which few rows can have it.

hidden [1, D] ──► 8-bit logits, each with the most it can be wrong by ──► rows that can be the first ──► exact ──► id

Shapes: V tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.backbones.packed_linear import eight_bits

MOST = 1024  # rows that are computed exactly; where more could be the first, the whole head is faster
BFLOAT16 = 2.0**-8  # what rounding to bfloat16 changes a number by at most, as a share of the result


class ScreenedHead:
    """argmax of W h, exactly, for a quarter of the bytes of W float32[V, D].

    With w = q + r (8-bit levels times their scale, and the rest) and h = b + e (bfloat16, and the rest),

        |w·h - q·b| = |r·h + q·e| ≤ |r| |h| + |q| |e|        (Cauchy-Schwarz)

    and the kernel's result differs from q·b by rounding only. A row can be the first if its logit plus its bound is no
    less than the greatest logit minus bound: a few of SmolLM2's 49,152 rows.

    weight: float32[V, D]; kept, not copied
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.detach()
        self.levels, self.scale = eight_bits(self.weight)
        kept = self.levels * self.scale.float()[:, None]
        self.kept = kept.norm(dim=1)
        # Sums of D products in float32 are wrong by less than this share of the lengths' product, in any order.
        rounding = 2 * weight.shape[1] * torch.finfo(torch.float32).eps
        self.lost = (self.weight - kept).norm(dim=1) + rounding * self.weight.norm(dim=1)

    def __call__(self, hidden: Tensor) -> Tensor | None:
        """float32[1, D] -> int64[1]; None where too many rows could be the first."""
        rounded = hidden.bfloat16()
        logits = torch._weight_int8pack_mm(rounded, self.levels, self.scale)[0].float()
        length, lost = torch.linalg.vector_norm(hidden), torch.linalg.vector_norm(hidden - rounded)
        bounds = logits.abs().mul_(BFLOAT16).add_(self.lost * length).add_(self.kept * lost)
        (rows,) = torch.where(logits + bounds >= (logits - bounds).amax())
        if not 0 < len(rows) <= MOST:  # none where the state is not finite
            return None
        return rows[(self.weight[rows] @ hidden[0]).argmax()][None]
