"""LoRA (Hu et al. 2022, arXiv:2106.09685, section 4.1): W x + (alpha / rank) · B A x; W frozen, A and B trained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any


def add(
    lm: Any,
    rank: int = 8,
    alpha: float = 16.0,
    dropout: float = 0.0,
    targets: Sequence[str] | str = "all-linear",
) -> None:
    """Freeze a language model and give every chosen linear layer a trainable A and B, in float32, in place.

    B starts at zero, so the outputs do not change.

    targets: the ends of the names of the layers to adapt, or "all-linear" (all but the head)

    Raises ValueError for a model that has them already, and for targets that it lacks.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    if any(".lora_" in name for name, _ in lm.named_parameters()):
        raise ValueError("the language model has LoRA layers already; merge them first: backbone.merged()")
    chosen = targets if isinstance(targets, str) else list(targets)
    layers = [name for name, module in lm.named_modules() if not list(module.children())]
    if isinstance(chosen, list) and (
        astray := [end for end in chosen if not any(_ends(name, end) for name in layers)]
    ):
        raise ValueError(
            f"targets: got {astray}, with which no layer's name ends; there are, for example, "
            f"{', '.join(sorted({name.rpartition('.')[2] for name in layers}))}"
        )
    lm.requires_grad_(False)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # annotated int, used as a number
        lora_dropout=dropout,
        target_modules=chosen,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in lm.modules()),  # GPT-2's layers
    )
    inject_adapter_in_model(config, lm)
    for name, parameter in lm.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.float()


def merged(lm: Any) -> Any:
    """A copy of a language model with W + (alpha / rank) · B A in the place of each adapted layer."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    fresh = copy.deepcopy(lm)
    for name, module in list(fresh.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)
            fresh.set_submodule(name, module.get_base_layer())
    fresh.__dict__.pop("peft_config", None)
    return fresh


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith("." + end)
