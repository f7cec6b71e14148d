"""[Features] -> Features: every way to join columns, of which any row may lack any.

early.py         joined before anything is decided: concatenation, mean
late.py          each column predicts, predictions are joined: average, product, learned
hierarchical.py  early below, late above: hierarchical, hybrid
gated.py         each row says how much it takes of each column: gated
tensor.py        products of units of different columns: tensor
low_rank.py      the same with weights of low rank: low_rank
film.py          one column scales and shifts the others: film
attention.py     token by token: tokens, cross_attention, co_attention, bottleneck, hierarchical_attention
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from typing import Any

from sensorium.fusion.attention import (
    Bottleneck,
    CoAttention,
    CrossAttention,
    HierarchicalAttention,
    Tokens,
)
from sensorium.fusion.early import Concatenation, Mean
from sensorium.fusion.film import Film
from sensorium.fusion.fusion import Fused, Fusion
from sensorium.fusion.gated import Gated
from sensorium.fusion.hierarchical import Hierarchical, Hybrid
from sensorium.fusion.late import Average, Learned, Product
from sensorium.fusion.low_rank import LowRank
from sensorium.fusion.tensor import TensorProduct

# Written out, so that a name is found by reading: name -> what makes it
KINDS: dict[str, type[Fusion]] = {
    "concatenation": Concatenation,
    "mean": Mean,
    "average": Average,
    "product": Product,
    "learned": Learned,
    "hierarchical": Hierarchical,
    "hybrid": Hybrid,
    "gated": Gated,
    "tensor": TensorProduct,
    "low_rank": LowRank,
    "film": Film,
    "tokens": Tokens,
    "cross_attention": CrossAttention,
    "co_attention": CoAttention,
    "bottleneck": Bottleneck,
    "hierarchical_attention": HierarchicalAttention,
}


def fusion_of(kind: str, columns: Sequence[str], width: int, **options: Any) -> Fusion:
    """The fusion of a name. Raises ValueError that lists the names, or the options that the kind has."""
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no fusion {kind!r}; there are: {', '.join(KINDS)}.{guess}")
    known = [name for name in inspect.signature(KINDS[kind]).parameters if name not in ("columns", "width")]
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"options {unknown} of the fusion {kind!r}; it has: {', '.join(known) or 'none'}")
    return KINDS[kind](columns, width, **options)


__all__ = [
    "KINDS",
    "Average",
    "Bottleneck",
    "CoAttention",
    "Concatenation",
    "CrossAttention",
    "Film",
    "Fused",
    "Fusion",
    "Gated",
    "Hierarchical",
    "HierarchicalAttention",
    "Hybrid",
    "Learned",
    "LowRank",
    "Mean",
    "Product",
    "TensorProduct",
    "Tokens",
    "fusion_of",
]
