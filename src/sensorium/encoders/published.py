"""Models of `transformers` from a folder, complete or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn


def tower_class(kind: str, towers: Mapping[str, str]) -> Any:
    """The class of `transformers` for one tower of a model that has several, by `model_type`.

    towers: `model_type` -> class name. A kind that is not in it is left to AutoModel (None).
    """
    import transformers

    return getattr(transformers, towers[kind]) if kind in towers else None


def load(folder: Path, towers: Mapping[str, str]) -> tuple[nn.Module, Collection[str]]:
    """The model in float32 and the names of the weights that its files lack. Reads safetensors only."""
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    kind = AutoConfig.from_pretrained(folder).model_type
    # Its report of unused weights (other towers, heads) says nothing that we do not check ourselves.
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, report = (tower_class(kind, towers) or AutoModel).from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
    return model, report["missing_keys"]


def from_config(config: Any, towers: Mapping[str, str]) -> nn.Module:
    """The model that a configuration describes, with random weights."""
    from transformers import AutoModel

    made = tower_class(config.model_type, towers)
    model: nn.Module = AutoModel.from_config(config) if made is None else made(config)
    return model


def check_complete(source: str | Path, model: nn.Module, missing: Collection[str]) -> None:
    """ValueError if a weight that `model` (still) has was not in the file."""
    lacking = sorted(set(missing) & set(model.state_dict()))
    if lacking:
        raise ValueError(
            f"{source}: the file lacks {len(lacking)} weights of {type(model).__name__}, "
            f"such as {lacking[0]}; expected a checkpoint of the whole encoder"
        )


def drop_pooler(model: Any) -> None:
    """Take away a pooling head that is not used: its weights are often random, and identity would be, too."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None


def plain(config: Any) -> dict[str, Any]:
    """A configuration without what says nothing of the computation."""
    left_out = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
    return {key: value for key, value in config.to_dict().items() if key not in left_out}
