"""The Querying Transformer of BLIP-2 (Li et al. 2023, arXiv:2301.12597, section 3.1).

B item, T media token, Q query, L text token, S = Q + L position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.layers import Attention, FeedForward, attend
from sensorium.projectors.projector import Projector, from_tokens, real
from sensorium.projectors.published import rename

# Names of `transformers`' Blip2QFormerModel (and Blip2Model's query_tokens beside it) -> ours.
KEYS = {
    r"query_tokens": r"queries",
    r"layernorm\.(\w+)": r"norm.\1",
    r"encoder\.layer\.(\d+)\.attention\.attention\.(\w+)\.(\w+)": r"blocks.\1.attention.\2.\3",
    r"encoder\.layer\.(\d+)\.attention\.output\.dense\.(\w+)": r"blocks.\1.attention.output.\2",
    r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.(\w+)": r"blocks.\1.attention_norm.\2",
    r"encoder\.layer\.(\d+)\.crossattention\.attention\.(\w+)\.(\w+)": r"blocks.\1.cross_attention.\2.\3",
    r"encoder\.layer\.(\d+)\.crossattention\.output\.dense\.(\w+)": r"blocks.\1.cross_attention.output.\2",
    r"encoder\.layer\.(\d+)\.crossattention\.output\.LayerNorm\.(\w+)": r"blocks.\1.cross_attention_norm.\2",
    r"encoder\.layer\.(\d+)\.intermediate_query\.dense\.(\w+)": r"blocks.\1.query_feed_forward.lift.\2",
    r"encoder\.layer\.(\d+)\.output_query\.dense\.(\w+)": r"blocks.\1.query_feed_forward.lower.\2",
    r"encoder\.layer\.(\d+)\.output_query\.LayerNorm\.(\w+)": r"blocks.\1.query_feed_forward_norm.\2",
    r"encoder\.layer\.(\d+)\.intermediate\.dense\.(\w+)": r"blocks.\1.text_feed_forward.lift.\2",
    r"encoder\.layer\.(\d+)\.output\.dense\.(\w+)": r"blocks.\1.text_feed_forward.lower.\2",
    r"encoder\.layer\.(\d+)\.output\.LayerNorm\.(\w+)": r"blocks.\1.text_feed_forward_norm.\2",
}


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state of `Blip2QFormerModel`, "query_tokens" [1, Q, W] added to it -> a state of `QFormer`.

    Raises ValueError for a name that is neither's.
    """
    return rename(state, KEYS)


class QFormer(Projector):
    """Features[B, T, K] -> Features[B, Q, W]: Q learned queries read what they need from any number of tokens.

        queries ──► norm ──► [ self-attention ──► cross-attention (every n-th block) ──► feed-forward ] × layers
                                    ▲                   ▲
        text, if given ─► norm ─────┘ (its own          └── media tokens
                                       feed-forward)

    Blocks are BERT's: each step's result is added to what came in, then normed. The 32 queries of the paper
    attend to each other, and to text where text is given, under a mask that the objective chooses
    (section 3.1: bidirectional, multimodal causal, unimodal).

    An item without any real media token gives masked tokens: a missing picture stays missing.

    width, heads, hidden: W, attention heads, width inside the feed-forward (768, 12, 3072 in the paper)
    media_width: K; layers: 12; queries: 32
    cross_every: block i reads from the media where i is a multiple of it (2)
    text:        make the feed-forward for text tokens too
    norm_media:  norm the media tokens before they are read, as the paper's encoder does after its last block: for
                 encoders whose channels differ much in size
    dropout:     of attention weights and of each step's result (0.1)
    eps:         of the layer norms
    """

    length: int

    def __init__(
        self,
        width: int,
        media_width: int,
        *,
        layers: int,
        heads: int,
        hidden: int,
        queries: int,
        cross_every: int = 2,
        text: bool = False,
        norm_media: bool = False,
        dropout: float = 0.0,
        eps: float = 1e-12,
    ) -> None:
        super().__init__()
        if min(layers, queries, cross_every) < 1:
            raise ValueError(
                f"got layers={layers}, queries={queries}, cross_every={cross_every}; expected at least 1 of each"
            )
        self.width, self.length = width, queries
        self.queries = nn.Parameter(torch.empty(1, queries, width))
        self.norm = nn.LayerNorm(width, eps=eps)
        self.media_norm = nn.LayerNorm(media_width) if norm_media else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            QFormerBlock(
                width, heads, hidden, media_width if i % cross_every == 0 else None, text, dropout, eps
            )
            for i in range(layers)
        )
        self.apply(_start_as_bert)
        nn.init.normal_(self.queries, std=0.02)

    def forward(self, features: Features) -> Features:
        tokens = self.hidden(features)
        return from_tokens(tokens, features.mask.any(1, keepdim=True).expand(-1, self.length))

    def hidden(
        self,
        media: Features | None,
        text: Tensor | None = None,
        mask: Tensor | None = None,
        of: Tensor | None = None,
    ) -> Tensor:
        """Hidden states float[B, Q + L, W] of the last block, the queries first, text after them.

        media: None: without queries, text alone (L positions), as the unimodal text side of stage 1
        text:  float[B, L, W], embedded words with their positions added, before the norm
        mask:  what may be seen in self-attention, bool[B, S] for all positions alike or bool[B, S, S]
               (row: who looks; column: what is seen; stage 1's are in `layers/query_masks.py`); None: everything
        of:    int64[B], which item of the media a row's queries read, so that one picture beside several texts is
               projected once; None: row i reads item i
        """
        if text is not None and self.blocks[0].text_feed_forward is None:
            raise ValueError("got text, but this QFormer has no feed-forward for it; build it with text=True")
        parts = []
        if media is not None:
            parts.append(self.queries.expand(len(media) if of is None else len(of), -1, -1))
        if text is not None:
            parts.append(text)
        if not parts:
            raise ValueError("got neither media nor text; expected at least one")
        x = self.dropout(self.norm(torch.cat(parts, 1)))
        tokens, real_tokens = (None, None) if media is None else (real(media), media.mask)
        if tokens is not None and self.media_norm is not None:
            tokens = self.media_norm(tokens)
        Q = 0 if media is None else self.length
        for block in self.blocks:
            x = block(x, Q, mask, tokens, real_tokens, of)
        return x


class QFormerBlock(nn.Module):
    """One block: positions before `Q` are queries, the others text. Arguments as in `QFormer`.

    media_width: None: a block without cross-attention
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        media_width: int | None,
        text: bool,
        dropout: float,
        eps: float,
    ) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout=dropout)
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.cross_attention = None
        if media_width is not None:
            self.cross_attention = Attention(width, heads, key_width=media_width, dropout=dropout)
            self.cross_attention_norm = nn.LayerNorm(width, eps=eps)
        self.query_feed_forward = FeedForward(width, hidden)
        self.query_feed_forward_norm = nn.LayerNorm(width, eps=eps)
        self.text_feed_forward = None
        if text:
            self.text_feed_forward = FeedForward(width, hidden)
            self.text_feed_forward_norm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        Q: int,
        mask: Tensor | None,
        media: Tensor | None,
        media_mask: Tensor | None,
        of: Tensor | None = None,
    ) -> Tensor:
        """float[B, S, W] -> float[B, S, W]. media: float[M, T, K], media_mask: bool[M, T]; of: int64[B]."""
        x = self.attention_norm(x + self.dropout(self.attention(x, mask=mask)))
        queries, text = x[:, :Q], x[:, Q:]
        if Q and self.cross_attention is not None:
            read = self._read(queries, media, media_mask, of)
            queries = self.cross_attention_norm(queries + self.dropout(read))
        if Q:
            step = self.dropout(self.query_feed_forward(queries))
            queries = self.query_feed_forward_norm(queries + step)
        if self.text_feed_forward is not None and text.shape[1]:
            text = self.text_feed_forward_norm(text + self.dropout(self.text_feed_forward(text)))
        return torch.cat([queries, text], 1)

    def _read(self, queries: Tensor, media: Any, mask: Any, of: Tensor | None) -> Tensor:
        """Cross-attention float[B, Q, W]. Keys and values, most of its work, are made once an item of the media."""
        cross: Any = self.cross_attention
        if of is None:
            read: Tensor = cross(queries, media, mask)
            return read
        key, value, seen = cross.key(media)[of], cross.value(media)[of], mask[of]
        dropout = cross.dropout if self.training else 0.0
        read = cross.output(attend(cross.query(queries), key, value, cross.heads, seen, dropout))
        return read.masked_fill(~seen.any(-1)[:, None, None], 0.0)


def _start_as_bert(module: nn.Module) -> None:
    """Weights normal with deviation 0.02, biases zero (Devlin et al. 2019)."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
