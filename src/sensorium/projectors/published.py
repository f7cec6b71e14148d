"""Weights of published connectors under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor


def rename(state: Mapping[str, Tensor], keys: Mapping[str, str]) -> dict[str, Tensor]:
    """The same tensors under new names.

    keys: regular expressions that fit a whole name -> the new name, `\\1` for their groups
    Raises ValueError for a name that none fits, so that no weight is lost.
    """
    renamed = {}
    for name, tensor in state.items():
        fitting = [(pattern, new) for pattern, new in keys.items() if re.fullmatch(pattern, name)]
        if not fitting:
            raise ValueError(f"no place for the weight {name!r}; known names fit one of: {', '.join(keys)}")
        pattern, new = fitting[0]
        renamed[re.sub(pattern, new, name)] = tensor
    return renamed
