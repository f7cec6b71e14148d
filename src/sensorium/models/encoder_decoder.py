"""`EncoderDecoder`: pictures and words told apart, matched and put into words by one text transformer (BLIP's MED)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.models.momentum_queue import MomentumQueue

# Decoder and encoder share every weight but those of self-attention (Li et al. 2022, §3.1); names of that below a layer
OWN = ".attention."


class BatchLike(Protocol):
    """What `forward` reads of a `data.Batch`: columns with `inputs` and `present`."""

    @property
    def columns(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Words:
    """Tokens of B texts: ids int64[B, T] and mask bool[B, T], padded at the end."""

    ids: Tensor
    mask: Tensor

    def __getitem__(self, rows: Tensor) -> Words:
        return Words(self.ids[rows], self.mask[rows])


@dataclass(frozen=True)
class Pairs:
    """What `EncoderDecoder.forward` returns for the P rows of a batch that have both a picture and a text.

    image:   their pictures' tokens, float[P, T, W], all real
    words:   their texts
    vectors: "image" and "text", float[P, D] of unit length
    present: of both columns, bool[P], all True
    scale:   float[], logits = scale · cosine
    rows:    int64[P], the rows' places in the batch
    """

    image: Tensor
    words: Words
    vectors: dict[str, Tensor]
    present: dict[str, Tensor]
    scale: Tensor
    rows: Tensor

    @property
    def bias(self) -> Tensor:
        return torch.zeros_like(self.scale)


class EncoderDecoder(nn.Module):
    """A mixture of encoder and decoder (Li et al. 2022, arXiv:2201.12086, §3.1): one transformer of words, three modes.

                                        ┌─► image head ─► / |·| ─┐
        picture ─► vision ─► Features ──┤                        ├─ cosine: which belong together?   embed_*
                                        │   text head ─► / |·| ──┘
                                        │       ▲
        [CLS] words ────────────────────┼─► encoder ─ self-attention, feed-forward
        [ENC] words ────────────────────┼─► encoder ─ self-attention, cross-attention, feed-forward
                                        └──────────────────────────────┘ └► match head ─► yes or no   match
        [DEC] words ───────────────────────► decoder ─ causal self-attention, cross-attention, …
                                                                         └► the next word             next_words

    Encoder and decoder of `shared` are one set of weights but for self-attention. A part that is None has no
    mode: a published captioner has no encoder, a published matcher no decoder.

    vision:  an encoder of pictures; its pooled vector goes to the image head
    text:    an encoder of words (`prepare(texts) -> ids, mask`) whose `.model` also takes `encoder_hidden_states`
    decoder: a language model of `transformers` that takes them, with `is_decoder`
    heads:   "image", "text" (to D) and "match" (to 2: no, yes), each on one vector
    bridge:  float[B, 1 + T, V] -> float[B, 1 + T, W], from the vision's width to what the words attend to. The pooled
             vector stands first, as a ViT's class token does: it says in one place what the whole picture shows
    markers: ids of the tokens that stand first: "encode" in a matched text, "decode" in one to be written; and
             "end" and "pad"
    queue:   a slowly following copy and its last vectors, for `objectives.MomentumContrast`
    """

    def __init__(
        self,
        vision: Any,
        text: Any,
        decoder: Any,
        heads: Mapping[str, nn.Module],
        *,
        markers: Mapping[str, int],
        bridge: nn.Module | None = None,
        shared: bool = False,
        columns: Sequence[str] = ("image", "text"),
        scale: float = 1 / 0.07,
    ) -> None:
        super().__init__()
        self.vision, self.text, self.decoder = vision, text, decoder
        self.heads, self.bridge = nn.ModuleDict(heads), bridge
        self.markers = dict(markers)
        self.image_column, self.text_column = columns
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.queue: MomentumQueue | None = None
        if shared:
            share(text.model, decoder)

    @property
    def by_column(self) -> dict[str, Any]:
        """The encoders by column, for what prepares and caches media."""
        return {self.image_column: self.vision, self.text_column: self._has("text")}

    # ---- pictures -----------------------------------------------------------------------------------------

    def see(self, inputs: dict[str, Tensor] | Features) -> tuple[Tensor, Tensor]:
        """Prepared pictures or their cached Features -> tokens float[B, T, W] and pooled float[B, V]."""
        features = inputs if isinstance(inputs, Features) else self.vision(inputs)
        if self.bridge is None:
            return features.tokens, features.pooled
        return self.bridge(torch.cat([features.pooled[:, None], features.tokens], 1)), features.pooled

    # ---- the three modes ----------------------------------------------------------------------------------

    def embed_image(self, pooled: Tensor) -> Tensor:
        """float[B, V] of `see` -> float32[B, D] of unit length."""
        return F.normalize(self._head("image")(pooled).float(), dim=-1)

    def embed_text(self, words: Words) -> Tensor:
        """Texts that begin with the tokenizer's own first token -> float32[B, D] of unit length."""
        first = self._has("text").model(words.ids, attention_mask=words.mask.long()).last_hidden_state[:, 0]
        return F.normalize(self._head("text")(first).float(), dim=-1)

    def ground(self, words: Words, image: Tensor) -> Tensor:
        """Texts, and the tokens float[B, T, W] of a picture each -> hidden states float[B, L, H] of the words."""
        seen = torch.ones(image.shape[:2], dtype=torch.long, device=image.device)
        out = self._has("text").model(
            words.ids,
            attention_mask=words.mask.long(),
            encoder_hidden_states=image,
            encoder_attention_mask=seen,
        )
        hidden: Tensor = out.last_hidden_state
        return hidden

    def match(self, words: Words, image: Tensor) -> Tensor:
        """Texts that begin with "encode", and a picture each -> logits float[B, 2]: no, yes."""
        logits: Tensor = self._head("match")(self.ground(words, image)[:, 0])
        return logits

    def decode(self, words: Words, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """Texts that begin with "decode", each with what it may look at -> hidden states float[B, L, H].

        memory: a picture's tokens, or what `ground` made of a question, float[B, T, W]; memory_mask: bool[B, T]
        """
        out = self._has("decoder").bert(
            words.ids,
            attention_mask=words.mask.long(),
            encoder_hidden_states=memory,
            encoder_attention_mask=None if memory_mask is None else memory_mask.long(),
            is_decoder=True,
        )
        hidden: Tensor = out.last_hidden_state
        return hidden

    def next_words(self, hidden: Tensor) -> Tensor:
        """float[..., H] of `decode` -> logits over the vocabulary, float[..., N], of what stands after each place."""
        logits: Tensor = self._has("decoder").cls(hidden)
        return logits

    def forward(self, batch: BatchLike) -> Pairs:
        image, text = batch.columns[self.image_column], batch.columns[self.text_column]
        both = image.present & text.present
        tokens, pooled = self.see(image.inputs)
        kept = both[image.present].to(tokens.device)
        tokens, pooled = tokens[kept], pooled[kept]
        words = Words(text.inputs["ids"], text.inputs["mask"])[both[text.present].to(tokens.device)]
        vectors = {
            self.image_column: self.embed_image(pooled),
            self.text_column: self.embed_text(words),
        }
        all_of_them = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
        return Pairs(
            tokens,
            words,
            vectors,
            dict.fromkeys(vectors, all_of_them),
            self.log_scale.exp(),
            both.nonzero()[:, 0],
        )

    # ---- words --------------------------------------------------------------------------------------------

    def words(self, texts: Sequence[str]) -> Words:
        """Texts as the tokenizer makes them, on this model's device."""
        made = self._has("text").prepare(texts)
        device = self.log_scale.device
        return Words(made["ids"].to(device), made["mask"].to(device))

    def marked(self, words: Words, marker: str) -> Words:
        """The same texts, another first token: "encode" or "decode"."""
        first = torch.full_like(words.ids[:, :1], self.markers[marker])
        return Words(torch.cat([first, words.ids[:, 1:]], 1), words.mask)

    @torch.no_grad()
    def write(
        self,
        memory: Tensor,
        memory_mask: Tensor | None = None,
        *,
        most: int = 20,
        top_p: float | None = None,
        beams: int = 1,
    ) -> Tensor:
        """What the decoder writes about each row of `memory`, float[B, T, W] -> ids int64[B, L], "decode" first.

        most:  tokens at most, the first included
        top_p: draw from the fewest likeliest tokens whose probabilities sum to p; None: the likeliest
        """
        decoder = self._has("decoder")
        seen = torch.ones(memory.shape[:2], dtype=torch.bool) if memory_mask is None else memory_mask
        ids: Tensor = decoder.generate(
            torch.full((len(memory), 1), self.markers["decode"], device=memory.device),
            encoder_hidden_states=memory,
            encoder_attention_mask=seen.to(memory.device).long(),
            eos_token_id=self.markers["end"],
            pad_token_id=self.markers["pad"],
            max_length=most,
            num_beams=beams,
            do_sample=top_p is not None,
            **({} if top_p is None else {"top_p": top_p, "top_k": 0}),
        )
        return ids

    def _has(self, part: str) -> Any:
        found = getattr(self, part)
        if found is None:
            raise ValueError(
                f"this model was published without a {'decoder' if part == 'decoder' else 'text encoder'}: "
                f"{'it tells and matches, and cannot write' if part == 'decoder' else 'it writes only'}"
            )
        return found

    def _head(self, name: str) -> nn.Module:
        if name not in self.heads:
            raise ValueError(
                f"this model was published without the head {name!r}; it has {sorted(self.heads)}"
            )
        return self.heads[name]


def share(encoder: nn.Module, decoder: Any) -> None:
    """Let the decoder use the encoder's weights wherever it has the same ones, but for self-attention."""
    modules = dict(decoder.bert.named_modules())
    own = dict(decoder.bert.named_parameters())
    for name, parameter in encoder.named_parameters():
        if OWN not in name:
            assert own[name].shape == parameter.shape, name
            place, _, leaf = name.rpartition(".")
            setattr(modules[place], leaf, parameter)
    decoder.cls.predictions.decoder.weight = decoder.bert.embeddings.word_embeddings.weight
