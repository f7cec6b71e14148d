"""Tiny random language models, every weight random, so that none can hide."""

from typing import Any

import pytest
import torch
import transformers

VOCABULARY = 40
SMALL = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BLOCK = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
OPT = {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}

CAUSAL = {
    "llama": lambda: transformers.LlamaConfig(**SMALL, **BLOCK),
    "qwen2": lambda: transformers.Qwen2Config(**SMALL, **BLOCK, tie_word_embeddings=True),
    "gpt2": lambda: transformers.GPT2Config(**SMALL, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "opt": lambda: transformers.OPTConfig(**SMALL, **OPT, word_embed_proj_dim=32, max_position_embeddings=64),
    # As opt-350m: embeddings narrower than the states, norms behind the sums.
    "opt_narrow": lambda: transformers.OPTConfig(
        **SMALL, **OPT, word_embed_proj_dim=16, max_position_embeddings=64, do_layer_norm_before=False
    ),
}
ENCODER_DECODER = {
    "t5": lambda: transformers.T5Config(**SMALL, **T5),
    "flan_t5": lambda: transformers.T5Config(
        **SMALL, **T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False
    ),
    "mt5": lambda: transformers.MT5Config(**SMALL, **T5),
    "umt5": lambda: transformers.UMT5Config(**SMALL, **T5),
}


def make(config: Any, auto: Any) -> Any:
    torch.manual_seed(0)
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


@pytest.fixture(params=CAUSAL)
def causal(request) -> Any:
    return make(CAUSAL[request.param](), transformers.AutoModelForCausalLM)


@pytest.fixture(params=ENCODER_DECODER)
def encoder_decoder(request) -> Any:
    return make(ENCODER_DECODER[request.param](), transformers.AutoModelForSeq2SeqLM)


@pytest.fixture
def llama() -> Any:
    return make(CAUSAL["llama"](), transformers.AutoModelForCausalLM)


@pytest.fixture
def t5() -> Any:
    return make(ENCODER_DECODER["t5"](), transformers.AutoModelForSeq2SeqLM)


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(3, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(1))
