"""Modality-specific attention: one sequence of several modalities, each with projections of its own.

B item, T position, D width, M modality.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from sensorium.layers.attention import attend, attention_weights


class ModalityAttention(nn.Module):
    """x float[B, T, D], which int64[T] or int64[B, T] -> float[B, T, D]: all read all, each in its own language.

        token of modality m ──► query_m, key_m, value_m ──┐
        token of modality n ──► query_n, key_n, value_n ──┼──► one softmax over all tokens ──► output_m, output_n
                                                          ┘

    The attention of Mixture-of-Transformers (Liang et al. 2024, arXiv:2411.04996, section 2, algorithm 1) and of
    MM-DiT (Esser et al. 2024, arXiv:2403.03206, section 4): weights are told apart by modality, attention is not.
    With equal projections it is `Attention`.

    width, heads: D and H
    modalities:   names; `which` counts in their order
    bias:         of all maps; dropout: of the attention weights
    """

    def __init__(
        self, width: int, heads: int, modalities: Sequence[str], *, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"got width={width}, heads={heads}; expected heads that divide the width")
        if not modalities or len(set(modalities)) < len(modalities):
            raise ValueError(f"modalities: got {list(modalities)}; expected different names, at least one")
        self.modalities, self.heads, self.dropout = tuple(modalities), heads, dropout
        self.query, self.key, self.value, self.output = (
            OneEach(len(self.modalities), width, width, bias) for _ in range(4)
        )

    def forward(self, x: Tensor, which: Tensor, mask: Tensor | None = None) -> Tensor:
        """which: each position's modality, its place in `modalities`; mask: as in `Attention`.

        Raises ValueError for a modality that is none.
        """
        which = self._checked(x, which)
        dropout = self.dropout if self.training else 0.0
        query, key, value = (maps(x, which) for maps in (self.query, self.key, self.value))
        out = self.output(attend(query, key, value, self.heads, mask, dropout), which)
        if mask is None:
            return out
        seen = mask.any(-1)  # [B] or [B, T]
        return out.masked_fill(~(seen[:, None, None] if mask.dim() == 2 else seen[..., None]), 0.0)

    def weights(self, x: Tensor, which: Tensor, mask: Tensor | None = None) -> Tensor:
        """float[B, H, T, T]."""
        which = self._checked(x, which)
        return attention_weights(self.query(x, which), self.key(x, which), self.heads, mask)

    def _checked(self, x: Tensor, which: Tensor) -> Tensor:
        """int64[B, T]."""
        if which.min() < 0 or which.max() >= len(self.modalities):
            raise ValueError(
                f"which: got numbers from {int(which.min())} to {int(which.max())}; expected places in "
                f"{', '.join(self.modalities)}: 0 to {len(self.modalities) - 1}"
            )
        return which.expand(x.shape[:2])


class OneEach(nn.Module):
    """float[B, T, D], int64[B, T] -> float[B, T, O]: each position through the linear map that is its modality's."""

    def __init__(self, modalities: int, width: int, out: int, bias: bool = True) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(width, out, bias=bias) for _ in range(modalities))

    def forward(self, x: Tensor, which: Tensor) -> Tensor:
        parts = [layer(x[which == place]) for place, layer in enumerate(self.maps)]
        out = parts[0].new_zeros(*which.shape, parts[0].shape[-1])
        for place, part in enumerate(parts):
            out[which == place] = part
        return out
