"""options -> a built model: published models as compositions, one short file each with its figure."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib import import_module

from torch import nn

# Written out, so that a name is found by reading: name -> (module:function, what it is and its paper)
SYSTEMS = {
    "clip": (
        "sensorium.systems.clip:clip",
        "pictures and words; softmax over the batch (Radford et al. 2021)",
    ),
    "siglip": (
        "sensorium.systems.siglip:siglip",
        "pictures and words; a yes or no for each pair (Zhai et al. 2023)",
    ),
    "clap": (
        "sensorium.systems.clap:clap",
        "sounds and words; softmax over the batch (Wu et al. 2023)",
    ),
    "image_text_audio": (
        "sensorium.systems.image_text_audio:image_text_audio",
        "pictures, words and speech in one space, from light pretrained encoders",
    ),
}


def system_builder(name: str) -> Callable[..., nn.Module]:
    """The builder of a system. Raises ValueError that lists the systems."""
    if name not in SYSTEMS:
        near = difflib.get_close_matches(name, SYSTEMS, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no system {name!r}; there are: {', '.join(SYSTEMS)}.{guess}")
    module, _, function = SYSTEMS[name][0].partition(":")
    builder: Callable[..., nn.Module] = getattr(import_module(module), function)
    return builder
