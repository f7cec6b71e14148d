"""Tiny language models with random weights, whose tokens are letters."""

import torch
import transformers

from sensorium.backbones import CausalBackbone, EncoderDecoderBackbone
from sensorium.backbones.fast_llama import FastLlama

V, END = 60, 2
SMALL = {"vocab_size": V, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": END}
LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}


class Letters:
    """Token n is the n-th letter from "A" on; 0 to 2 are special."""

    pad_token_id, bos_token_id, eos_token_id = 0, 1, END

    def decode(self, ids, **options) -> str:
        return "".join(chr(65 + id) for id in ids if id > END)


def spread(model):
    """Weights large enough that answers are neither one token repeated nor near ties."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model.eval()


def backbone_of(kind: str):
    torch.manual_seed(1)
    if kind == "gpt2":
        config = transformers.GPT2Config(**SMALL, n_embd=32, n_layer=2, n_head=4, n_positions=128)
        return CausalBackbone(spread(transformers.GPT2LMHeadModel(config)), Letters())
    if kind == "t5":
        lm = spread(transformers.T5ForConditionalGeneration(transformers.T5Config(**SMALL, **T5)))
        return EncoderDecoderBackbone(lm, Letters())
    llama = CausalBackbone(
        spread(transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, **LLAMA))), Letters()
    )
    return FastLlama(llama, "fp32") if kind == "fast_llama" else llama


def prompts(backbone, lengths) -> list[torch.Tensor]:
    """float[1, L, D] of each length, of tokens."""
    torch.manual_seed(2)
    return [backbone.embed(torch.randint(3, V, (1, length))).detach() for length in lengths]
