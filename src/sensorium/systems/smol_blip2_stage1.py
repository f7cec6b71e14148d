"""BLIP-2's first stage with light parts: the queries of `smol_blip2`, taught by words before any language model.

    image uint8[H, W, 3] ──► EfficientNet-Lite0, stages 6–9, frozen ──► tokens ──┐
    queries ──────────────► Q-Former, as in systems/smol_blip2.py ◄──────────────┘
    words ──► pieces of MiniLM's vocabulary ──► table, new ──► the same Q-Former

The composition is figure 2 of BLIP-2 (systems/blip2_stage1.py). The paper's Q-Former begins with BERT's weights and
BERT's 30,522 words; ours begins at random, with the few pieces that its training captions are made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sensorium import weights
from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.encoders.text import MINILM
from sensorium.models.image_text_qformer import ImageTextQFormer
from sensorium.projectors import QFormer
from sensorium.systems import blip2_stage1
from sensorium.systems.smol_blip2 import HEADS
from sensorium.systems.smol_llava import STAGES

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", blip2_stage1.START)
TOKENS = 32  # of a text; longer ones are cut, and reported


def smol_blip2_stage1(
    vocabulary: Sequence[str] = (),
    size: int = 160,
    queries: int = 8,
    layers: int = 4,
    width: int = 128,
    shared: int = 128,
) -> ImageTextQFormer:
    """The system with a pretrained, frozen encoder of pictures; all else is new.

    vocabulary: pieces of words (`pieces`), special tokens left out; (): all of MiniLM's
    size:       side of the pictures in pixels
    queries, layers, width: of the Q-Former, as stage 2 will have them
    shared:     width in which pictures and words are compared
    """
    from transformers import Blip2QFormerConfig

    tokenizer = small_tokenizer(vocabulary or list(_minilm().get_vocab()))
    encoder = EfficientNetLite.pretrained(size=size, stages=STAGES).freeze()
    qformer = QFormer(
        width,
        encoder.width,
        layers=layers,
        heads=HEADS,
        hidden=4 * width,
        queries=queries,
        text=True,
        norm_media=True,
    )
    words = Blip2QFormerConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        max_position_embeddings=TOKENS,
        pad_token_id=tokenizer.pad_token_id,
    )
    return blip2_stage1.assemble(encoder, words, tokenizer, qformer, shared)


def small_tokenizer(vocabulary: Iterable[str]) -> Any:
    """BERT's tokenizer of these pieces alone; its start token is [DEC]."""
    from transformers import BertTokenizer

    listed = [*SPECIAL, *(piece for piece in vocabulary if piece not in SPECIAL)]
    tokenizer = BertTokenizer(vocab={piece: row for row, piece in enumerate(listed)}, bos_token=SPECIAL[-1])
    tokenizer.model_max_length = TOKENS
    return tokenizer


def pieces(texts: Iterable[str]) -> list[str]:
    """The pieces of MiniLM's vocabulary that these texts are made of, and all single signs, sorted.

    With the single signs any word can be spelled: a word of other texts becomes more pieces, not [UNK].
    """
    tokenizer = _minilm()
    used = {piece for text in texts for piece in tokenizer.tokenize(text)}
    signs = {piece for piece in tokenizer.get_vocab() if len(piece.removeprefix("##")) == 1}
    return sorted((used | signs) - set(tokenizer.all_special_tokens))


def _minilm() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(weights.resolve(MINILM))
