"""A tiny model that sees and hears, with random weights and a tokenizer of bytes."""

from collections.abc import Sequence

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from torch import Tensor, nn

from sensorium.backbones import CausalBackbone, EncoderDecoderBackbone
from sensorium.encoders.encoder import Encoder
from sensorium.features import Features
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors import LinearProjector

SPECIAL = ["<pad>", "<|start|>", "<|end|>"]
TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
WIDTH = 32


class Rows(Encoder):
    """A picture's rows, or a recording's samples by eight, as tokens. Counts how often it encodes."""

    def __init__(self, modality: str, width: int) -> None:
        super().__init__()
        self.modality, self.width, self.preparation, self.calls = modality, width, "rows", 0
        self.scale = nn.Parameter(torch.ones(width))

    def prepare(self, media: Sequence) -> dict[str, Tensor]:
        self.calls += 1
        if self.modality == "image":
            rows = [one.mean(1) / 255 for one in media]
        elif self.modality == "state":
            rows = [one[None] for one in media]
        else:
            rows = [one.samples[: len(one.samples) // 8 * 8].reshape(-1, 8)[:4] for one in media]
        return {"rows": torch.tensor(np.stack(rows), dtype=torch.float32)}

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        tokens = inputs["rows"] * self.scale
        return Features(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), tokens.mean(1))


def tokenizer():
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = BPE({letter: place for place, letter in enumerate([*SPECIAL, *letters])}, [])
    inner = Tokenizer(bpe)
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<|start|>",
        eos_token="<|end|>",
        chat_template=TEMPLATE,
    )


def spread(model):
    """Weights large enough that answers depend on what is read."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model


def model_of(kind: str) -> MultimodalLM:
    torch.manual_seed(6 if kind == "t5" else 3)  # that answers differ from picture to picture
    words = tokenizer()
    size = {"vocab_size": len(words), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if kind == "t5":
        config = transformers.T5Config(
            **size,
            d_model=WIDTH,
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_heads=4,
            decoder_start_token_id=0,
            tie_word_embeddings=False,
        )
        backbone = EncoderDecoderBackbone(spread(transformers.T5ForConditionalGeneration(config)), words)
    elif kind == "gpt2":
        config = transformers.GPT2Config(**size, n_embd=WIDTH, n_layer=2, n_head=4, n_positions=400)
        backbone = CausalBackbone(spread(transformers.GPT2LMHeadModel(config)), words)
    else:
        config = transformers.LlamaConfig(
            **size,
            hidden_size=WIDTH,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=400,
        )
        backbone = CausalBackbone(spread(transformers.LlamaForCausalLM(config)), words)
    encoders = {"image": Rows("image", 3), "audio": Rows("audio", 8), "state": Rows("state", 2)}
    projectors = {name: LinearProjector(nn.Linear(one.width, WIDTH)) for name, one in encoders.items()}
    for projector in projectors.values():
        spread(projector)
    return MultimodalLM(encoders, projectors, backbone)
