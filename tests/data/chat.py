"""Tokenizers of the kinds there are, made by hand, and a tiny model that looks at pictures."""

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn

from sensorium.backbones.causal import CausalBackbone
from sensorium.backbones.encoder_decoder import EncoderDecoderBackbone
from sensorium.encoders.encoder import Encoder
from sensorium.features import Features
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors.projector import Projector, from_tokens

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TRIMMING = CHATML.replace("m['content']", "m['content'] | trim")
BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[' + m.content | trim + ' ]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content | trim + ' ' + eos_token }}"
    "{% else %}{{ raise_exception('no system turns here') }}{% endif %}{% endfor %}"
)
THINKING = CHATML.replace(
    "m['role'] + '\n' +",
    "m['role'] + '\n' + ('<think>\n</think>\n' if loop.last and m['role'] == 'assistant' else '') +",
)


def byte_level(template: str | None = CHATML, specials: bool = True):
    """As GPT-2's: every byte is a token, and a few pairs; nothing is put before a text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "e"), ("Ġ", "t"), ("i", "s"), ("<", "|")]
    tokens = ["<|endoftext|>", *letters, *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({token: id for id, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    if specials:
        fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    fast.add_tokens(["<think>", "heart"])  # added, not special: one that templates write, and a word
    fast.chat_template = template
    return fast


def sentence_piece(template: str | None = BRACKETS):
    """As Llama 2's: a space is put before the first word of a text."""
    letters = "abcdefghijklmnopqrstuvwxyz[].?<>/"
    tokens = ["<unk>", "<s>", "</s>", "▁", *letters, *(f"▁{letter}" for letter in letters)]
    merges = [("▁", letter) for letter in letters]
    tokenizer = Tokenizer(
        models.BPE({token: id for id, token in enumerate(tokens)}, merges, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    fast.chat_template = template
    return fast


class Rows(Encoder):
    """Pictures uint8[4, 4, 3] -> a token a row of pixels, and one of the mean."""

    modality, width, preparation = "image", 12, "a row of pixels a token"

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 12)

    def prepare(self, media):
        return {"pixels": torch.from_numpy(np.stack(media)).float().view(len(media), 4, 12) / 255}

    def forward(self, inputs):
        tokens = self.linear(inputs["pixels"])
        return Features(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), tokens.mean(1))


class Numbers(Encoder):
    """States float32[D] -> a token a number."""

    modality, width, preparation = "state", 3, "powers"

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def prepare(self, media):
        longest = max(map(len, media))
        numbers, mask = torch.zeros(len(media), longest), torch.zeros(len(media), longest, dtype=torch.bool)
        for row, state in enumerate(media):
            numbers[row, : len(state)], mask[row, : len(state)] = torch.from_numpy(state), True
        return {"numbers": numbers, "mask": mask}

    def forward(self, inputs):
        x = inputs["numbers"][..., None]
        tokens = self.linear(torch.cat([x, x**2, x**3], dim=-1))
        return Features(tokens, inputs["mask"], tokens.mean(1))


class Lift(Projector):
    """Tokens of another width."""

    def __init__(self, width_in: int, width: int, length: int | None) -> None:
        super().__init__()
        self.linear, self.width, self.length = nn.Linear(width_in, width), width, length

    def forward(self, features):
        return from_tokens(self.linear(features.tokens), features.mask)


WIDTH = 16
SMALL = {"vocab_size": 300, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
CONFIGURATIONS = {
    "llama": lambda: transformers.LlamaConfig(
        **SMALL, hidden_size=WIDTH, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2
    ),
    "gpt2": lambda: transformers.GPT2Config(**SMALL, n_embd=WIDTH, n_layer=2, n_head=2, n_positions=256),
    "t5": lambda: transformers.T5Config(
        **SMALL, d_model=WIDTH, d_kv=8, d_ff=24, num_layers=2, num_heads=2, decoder_start_token_id=0
    ),
}


def model(kind: str, tokenizer) -> MultimodalLM:
    """Random, with weights large enough that every position matters."""
    torch.manual_seed(0)
    backbone = (EncoderDecoderBackbone if kind == "t5" else CausalBackbone).random(
        CONFIGURATIONS[kind](), tokenizer
    )
    encoders = {"image": Rows(), "object": Rows(), "state": Numbers()}
    projectors = {"image": Lift(12, WIDTH, 4), "object": Lift(12, WIDTH, 4), "state": Lift(3, WIDTH, None)}
    made = MultimodalLM(encoders, projectors, backbone).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return made


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)


def image(media) -> dict:
    return {"type": "image", "image": media}


def said(question, answer: str | None = None) -> list[dict]:
    """A question, of texts and parts, and its answer."""
    turns = [{"role": "user", "content": question}]
    return turns if answer is None else [*turns, {"role": "assistant", "content": answer}]
