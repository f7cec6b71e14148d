"""`ImageTextQFormer`: a Q-Former that contrasts, matches and writes: BLIP-2's stage 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.layers.query_masks import bi_directional, multimodal_causal


class BatchLike(Protocol):
    """What `forward` reads of a `data.Batch`: columns with `inputs` and `present`."""

    @property
    def columns(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class ImageTextStates:
    """What `ImageTextQFormer.forward` returns for the P rows of a batch that have both a picture and a text.

    media:   the pictures' Features, as the encoder gives them
    ids:     int64[P, L], words:  bool[P, L], True where a word is real
    image:   float[P, Q, D], a unit vector a query
    text:    float[P, D], of unit length
    written: float[P, L, W], states of the words under the multimodal causal mask, the first replaced by the start
    scale:   float[], contrastive logits = scale · similarity
    rows:    int64[P], the rows' places in the batch
    """

    media: Features
    ids: Tensor
    words: Tensor
    image: Tensor
    text: Tensor
    written: Tensor
    scale: Tensor
    rows: Tensor


class ImageTextQFormer(nn.Module):
    """A picture and a text through one Q-Former, under three masks (Li et al. 2023, arXiv:2301.12597, §3.1, figure 2).

        picture ─► encoder ─► Features ────────────────┐
                                                       ▼ (cross-attention, from queries only)
        queries ─────► ┌──────────┐ ─► image head ─► / |·| ─► float[Q, D] ─┐ uni-modal mask: the best query's
                       │          │                                        ├─► cosine               `embed_*`
        [CLS] words ─► │ Q-Former │ ─► text head at [CLS] ─► / |·| ───────┘
        queries, words │          │ ─► match head, mean of the queries ─► no, yes  bi-directional     `match`
        queries, [DEC] │          │ ─► word head ─► the next word      multimodal causal   `next_words`, `write`
        words ───────► └──────────┘

    Queries do not see words under the causal mask, so that one pass gives the queries' vectors for the contrast and the
    words' states for the writing.

    encoders:   {"image": pictures -> Features, "text": words -> Features of embedded words, before any norm}; the text
                encoder has the `tokenizer`, whose start token ([DEC]) begins what is written, and its table of words:
                `encoders["text"].model.words`, float[V, W]
    qformer:    with `hidden(media, text, mask, of)`, `width` W, `length` Q; built for text
    image_head, text_head: W -> D
    match_head: W -> 2, (no, yes)
    word_head:  W -> W, states to what is compared with the table of words; None: it cannot write
    scale:      start of the learned logit scale
    """

    def __init__(
        self,
        encoders: Mapping[str, Any],
        qformer: Any,
        image_head: nn.Module,
        text_head: nn.Module,
        match_head: nn.Module,
        word_head: nn.Module | None = None,
        scale: float = 1 / 0.07,
    ) -> None:
        super().__init__()
        if set(encoders) != {"image", "text"}:
            raise ValueError(f"encoders for {sorted(encoders)}; expected one for 'image' and one for 'text'")
        if encoders["text"].width != qformer.width:
            raise ValueError(
                f"words are {encoders['text'].width} wide, the Q-Former {qformer.width}: make them equal"
            )
        self.encoders = nn.ModuleDict(encoders)
        self.qformer = qformer
        self.image_head, self.text_head = image_head, text_head
        self.match_head, self.word_head = match_head, word_head
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    @property
    def by_column(self) -> dict[str, Any]:
        """The encoders as a plain mapping, for what prepares and caches media."""
        return dict(self.encoders.items())

    @property
    def start(self) -> int:
        """The id that begins a written text. Raises ValueError where the tokenizer names none."""
        tokenizer: Any = self.encoders["text"].tokenizer
        if tokenizer.bos_token_id is None:
            raise ValueError("the tokenizer has no start token; add one: tokenizer.bos_token = '[DEC]'")
        return int(tokenizer.bos_token_id)

    def forward(self, batch: BatchLike) -> ImageTextStates:
        image, text = batch.columns["image"], batch.columns["text"]
        both = image.present & text.present
        media = self.media(image.inputs, both[image.present])
        kept = both[text.present]
        ids, words = (text.inputs[name][kept] for name in ("ids", "mask"))
        states = self._beside(media, self._begun(ids), words)
        Q = self.qformer.length
        return ImageTextStates(
            media=media,
            ids=ids,
            words=words,
            image=_unit(self.image_head(states[:, :Q])),
            text=self.embed_text(ids, words),
            written=states[:, Q:],
            scale=self.log_scale.exp(),
            rows=both.nonzero()[:, 0],
        )

    def media(self, inputs: Mapping[str, Tensor] | Features, kept: Tensor | None = None) -> Features:
        """Prepared pictures, or their cached Features -> Features; kept: bool[N], those that are wanted."""
        features = inputs
        if not isinstance(features, Features):
            encoder = self.encoders["image"]
            learns = any(parameter.requires_grad for parameter in encoder.parameters())
            with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
                features = encoder(features)
        if kept is None or bool(kept.all()):
            return features
        return Features(features.tokens[kept], features.mask[kept], features.pooled[kept])

    def read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """N texts -> ids int64[N, L] and words bool[N, L], True where real."""
        prepared = self.by_column["text"].prepare(list(texts))
        return prepared["ids"], prepared["mask"]

    def embed_image(self, media: Features) -> Tensor:
        """float[B, Q, D] of unit length: one vector a query, without any text."""
        return _unit(self.image_head(self.qformer.hidden(media)))

    def embed_text(self, ids: Tensor, words: Tensor) -> Tensor:
        """int64[B, L], bool[B, L] -> float[B, D] of unit length: the first position's, without any picture."""
        return _unit(self.text_head(self.qformer.hidden(None, self._embedded(ids, words), words)[:, 0]))

    @staticmethod
    def similarity(image: Tensor, text: Tensor) -> Tensor:
        """float[M, Q, D], float[N, D] -> float[M, N]: the cosine of a text with a picture's nearest query."""
        M, Q, D = image.shape
        return (image.reshape(M * Q, D) @ text.T).view(M, Q, len(text)).amax(1)

    def match(self, media: Features, ids: Tensor, words: Tensor, of: Tensor | None = None) -> Tensor:
        """float[N, 2], logits of (no, yes): does text i belong to picture `of[i]` (None: to picture i)?"""
        mask = bi_directional(self.qformer.length, words)
        states = self.qformer.hidden(media, self._embedded(ids, words), mask, of)
        logits: Tensor = self.match_head(states[:, : self.qformer.length]).mean(1)
        return logits

    def word_logits(self, written: Tensor) -> Tensor:
        """States float[…, W] -> float[…, V]: which word follows. The table of words is the one that is read with."""
        if self.word_head is None:
            raise ValueError("this model has no word head; it contrasts and matches, and cannot write")
        table: Any = self.encoders["text"].model
        logits: Tensor = self.word_head(written, table.words.weight)
        return logits

    def next_words(self, media: Features, ids: Tensor, words: Tensor) -> Tensor:
        """float[B, L, V]: at each place of a text, the logits of the word after it. ids as given: starts included."""
        return self.word_logits(self._beside(media, ids, words)[:, self.qformer.length :])

    @torch.no_grad()
    def write(self, media: Features, most: int = 16) -> list[str]:
        """What each picture shows, word by word, the likeliest at each place, until the end or `most` tokens."""
        tokenizer: Any = self.encoders["text"].tokenizer
        end = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
        ids = torch.full((len(media), 1), self.start, device=media.tokens.device)
        ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        for _ in range(most):
            last = self.next_words(media, ids, torch.ones_like(ids, dtype=torch.bool))[:, -1].argmax(-1)
            last = last.masked_fill(ended, tokenizer.pad_token_id)
            ids = torch.cat([ids, last[:, None]], 1)
            ended |= last == end
            if bool(ended.all()):
                break
        texts: list[str] = tokenizer.batch_decode(ids, skip_special_tokens=True)
        return texts

    def _beside(self, media: Features, ids: Tensor, words: Tensor) -> Tensor:
        """float[B, Q + L, W]: queries that read the pictures, words that read them and the words before."""
        mask = multimodal_causal(self.qformer.length, words)
        states: Tensor = self.qformer.hidden(media, self._embedded(ids, words), mask)
        return states

    def _embedded(self, ids: Tensor, words: Tensor) -> Tensor:
        tokens: Tensor = self.encoders["text"]({"ids": ids, "mask": words}).tokens
        return tokens

    def _begun(self, ids: Tensor) -> Tensor:
        """The texts with the start token in place of their first ([CLS]): what tells writing from reading."""
        return torch.cat([torch.full_like(ids[:, :1], self.start), ids[:, 1:]], 1)


class WordTable(nn.Module):
    """ids int64[B, L] -> words looked up, their positions added: what a `TransformersTextEncoder` takes for a model.

    config: with `vocab_size`, `hidden_size`, `max_position_embeddings`, `pad_token_id`
    """

    @dataclass(frozen=True)
    class Output:
        """last_hidden_state: float[B, L, W]"""

        last_hidden_state: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        for table in (self.words, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False
    ) -> Output:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        return self.Output(self.words(input_ids) + self.positions(places))


class WordHead(nn.Module):
    """float[…, W], table float[V, W] -> float[…, V]: BERT's prediction head (Devlin et al. 2019), the table shared.

    state ─► linear ─► GELU ─► norm ─► · table' + bias
    """

    def __init__(self, width: int, vocabulary: int, eps: float = 1e-12) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states: Tensor, table: Tensor) -> Tensor:
        return F.linear(self.norm(F.gelu(self.linear(states))), table, self.bias)


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.float(), dim=-1)  # float32: bf16 cosines have two digits
