"""[Features] -> Features: every way to join columns, of which any row may lack any.

early.py  concatenation
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from sensorium.fusion.early import Concatenation
from sensorium.fusion.fusion import Fused, Fusion

# Written out, so that a name is found by reading: name -> what makes it
KINDS: dict[str, type[Fusion]] = {
    "concatenation": Concatenation,
}


def fusion_of(kind: str, columns: Sequence[str], width: int, **options: Any) -> Fusion:
    """The fusion of a name. Raises ValueError that lists the names."""
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no fusion {kind!r}; there are: {', '.join(KINDS)}.{guess}")
    return KINDS[kind](columns, width, **options)


__all__ = ["KINDS", "Concatenation", "Fused", "Fusion", "fusion_of"]
