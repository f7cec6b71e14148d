"""Embeddings -> words: greedy, sampled or by beams, whole or as a stream, over any backbone.

backbone, embeddings float[B, L, D] ──► first logits ──► token ──► embedded ──► next logits ──► … ──► text
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from sensorium.models.reading import (
    CausalReader,
    EncoderDecoderReader,
    Reader,
    context_of,
    left_padded,
    likeliest_of,
    logits_of,
    with_fewest_moves,
)
from sensorium.models.text_pieces import TextPieces

MOST_BEAMS = 64  # each has keys and values of its own
MOST_SEED = 1 << 62  # generators take 64 bits, and rows of a batch count on from it


class DecodingError(ValueError):
    """What cannot be decoded as asked: what was got, what is expected."""


@dataclass(frozen=True)
class Decoding:
    """How words are chosen, and when to end.

    max_tokens:  at most so many tokens are written
    temperature: 0 takes the likeliest token; above 0, tokens are drawn from softmax(logits / temperature)
    top_k:       draw from the k likeliest tokens only; 0: from all
    top_p:       draw from the fewest likeliest tokens whose probabilities sum to p (Holtzman et al. 2020, §3.1)
    seed:        of the draws: row r of a batch draws as one alone with seed + r. None: differently every time
    beams:       above 1, the likeliest sequence that a beam search over so many finds (`transformers`' search)
    stop:        strings that end the text and are not part of it

    Raises DecodingError for numbers out of range.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    beams: int = 1
    stop: Sequence[str] = ()

    def __post_init__(self) -> None:
        def check(right: bool, message: str) -> None:
            if not right:
                raise DecodingError(message)

        numbers = {
            "max_tokens": Integral,
            "temperature": Real,
            "top_k": Integral,
            "top_p": Real,
            "beams": Integral,
        }
        for name, kind in numbers.items():
            got = getattr(self, name)
            what = "a whole number" if kind is Integral else "a number"
            check(isinstance(got, kind), f"{name}={got!r}; expected {what}")
        check(
            self.seed is None or (isinstance(self.seed, Integral) and 0 <= self.seed < MOST_SEED),
            f"seed={self.seed!r}; expected None or a whole number from 0 to {MOST_SEED - 1}",
        )
        check(self.max_tokens >= 1, f"max_tokens={self.max_tokens}; expected at least 1")
        check(0 <= self.temperature < inf, f"temperature={self.temperature}; expected 0 (greedy) or more")
        check(self.top_k >= 0, f"top_k={self.top_k}; expected 0 (all tokens) or more")
        check(0 < self.top_p <= 1, f"top_p={self.top_p}; expected above 0 and up to 1")
        check(1 <= self.beams <= MOST_BEAMS, f"beams={self.beams}; expected 1 to {MOST_BEAMS}")
        check(
            self.beams == 1 or self.temperature == 0,
            f"beams={self.beams} with temperature={self.temperature}; beams take the likeliest: drop one of them",
        )
        check(
            isinstance(self.stop, list | tuple) and all(one and isinstance(one, str) for one in self.stop),
            f"stop={self.stop!r}; expected a list of non-empty strings",
        )


GREEDY = Decoding()


@dataclass(frozen=True)
class Decoded:
    """What was written, for B rows.

    ids:   the tokens of each row, the one that ended it included
    texts: without special tokens and stop strings
    ended: "end" (an end token), "stop" (a stop string) or "length"
    cache: keys and values of the prompt and of every token but the last, None where none is kept (beams,
           encoder-decoders)
    """

    ids: list[list[int]]
    texts: list[str]
    ended: list[str]
    cache: Any = None


def decode(
    backbone: Any, embeddings: Tensor, mask: Tensor | None = None, how: Decoding = GREEDY, cache: Any = None
) -> Decoded:
    """What the language model writes after its input.

    embeddings: float[B, L, D], for an encoder-decoder what its encoder reads
    mask:       bool[B, L], False where a row is padded, on either side; None: nowhere. Each row gives what it
                would give alone
    cache:      of an earlier `decode`, or the backbone's `new_cache()`: what comes before these positions. It
                gains them and what is written, in place. Only for one row of a causal model

    Raises DecodingError when input and cache fill the model's context.
    """
    pieces = _written(backbone, embeddings, mask, how, cache)
    while True:
        try:
            next(pieces)
        except StopIteration as done:
            decoded: Decoded = done.value
            return decoded


def stream(
    backbone: Any, embeddings: Tensor, how: Decoding = GREEDY, cache: Any = None
) -> Generator[str, None, Decoded]:
    """The text for one row, float[1, L, D], in pieces as they are written. Returns what `decode` does.

    Stopping early (`close()`) leaves the cache with the positions that were read until then.
    """
    if len(embeddings) != 1:
        raise DecodingError(f"stream: got {len(embeddings)} rows; expected one: use decode for a batch")
    pieces = _written(backbone, embeddings, None, how, cache)
    while True:
        try:
            if piece := next(pieces)[0]:
                yield piece
        except StopIteration as done:
            decoded: Decoded = done.value
            return decoded


def end_ids(backbone: Any) -> frozenset[int]:
    """The tokens that end an answer: the tokenizer's, and those of the model's generation settings."""
    named = [backbone.tokenizer.eos_token_id, backbone.lm.generation_config.eos_token_id]
    flat = [id for ids in named for id in (ids if isinstance(ids, list) else [ids])]
    return frozenset(int(id) for id in flat if id is not None)


# ---- the loop ---------------------------------------------------------------------------------------------


def _written(
    backbone: Any, embeddings: Tensor, mask: Tensor | None, how: Decoding, cache: Any
) -> Generator[list[str], None, Decoded]:
    """A piece of text a row, for every token; "" for rows that have ended."""
    B = len(embeddings)
    if mask is not None and bool(mask.all()):
        mask = None
    if cache is not None and (B != 1 or mask is not None or backbone.kind != "causal" or how.beams > 1):
        raise DecodingError(
            "a cache goes with one row of a causal model, greedy or sampled; leave it out for batches, beams and "
            "encoder-decoders, and feed the whole conversation"
        )
    room = room_for(backbone, embeddings, cache)
    most = how.max_tokens if room is None else min(how.max_tokens, room)
    texts = [TextPieces(backbone.tokenizer, how.stop) for _ in range(B)]
    ended = ["length"] * B
    if how.beams > 1:
        for row, ids in enumerate(_beam_searched(backbone, embeddings, mask, how, most)):
            ended[row] = _replayed(texts[row], ids, end_ids(backbone))
        yield [text.text for text in texts]
        return Decoded([text.ids for text in texts], [text.text for text in texts], ended)

    reads = CausalReader if backbone.kind == "causal" else EncoderDecoderReader
    reader: Reader = reads(backbone, embeddings, mask, cache)
    choose, ends = Chooser(how, B), end_ids(backbone)
    alive = list(range(B))
    for number in range(most):
        chosen = choose(logits_of(reader), alive) if choose.drawn else likeliest_of(reader)
        pieces, going = [""] * B, []
        for row, id in zip(alive, chosen):
            pieces[row] = texts[row].add(id)
            if id in ends or texts[row].stopped:
                ended[row] = "stop" if texts[row].stopped else "end"
            else:
                going.append(row)
            if row not in going[-1:] or number + 1 == most:
                pieces[row] += texts[row].finish()
                if texts[row].stopped:
                    ended[row] = "stop"
        yield pieces
        if not going or number + 1 == most:
            break
        if len(going) < len(alive):
            places = with_fewest_moves([place for place, row in enumerate(alive) if row in set(going)])
            reader.keep(places)
            chosen, alive = [chosen[place] for place in places], [alive[place] for place in places]
        reader.read(chosen)
    return Decoded(
        [text.ids for text in texts], [text.text for text in texts], ended, reader.cache if B == 1 else None
    )


def room_for(backbone: Any, embeddings: Tensor, cache: Any = None) -> int | None:
    """How many tokens the context holds beside the input; None: any number. Raises DecodingError for none."""
    context = context_of(backbone)
    if context is None:
        return None
    there = embeddings.shape[1] + (0 if cache is None else cache.get_seq_length())
    if there >= context:
        raise DecodingError(
            f"the input takes {there:,} positions and leaves no room for an answer: the model reads at most "
            f"{context:,}; leave out turns or media"
        )
    return context - there


class Chooser:
    """logits float[B, V] -> a token a row, drawn from them. drawn: whether any is; else the likeliest is taken."""

    def __init__(self, how: Decoding, rows: int) -> None:
        from transformers.generation import logits_process as process

        self.drawn = how.temperature > 0
        self.warpers: list[Any] = []
        if not self.drawn:
            return
        if how.temperature != 1:
            self.warpers.append(process.TemperatureLogitsWarper(float(how.temperature)))
        if how.top_k:
            self.warpers.append(process.TopKLogitsWarper(how.top_k))
        if how.top_p < 1:
            self.warpers.append(process.TopPLogitsWarper(how.top_p))
        self.generators = [torch.Generator() for _ in range(rows)]
        for row, generator in enumerate(self.generators):
            if how.seed is None:
                generator.seed()
            else:
                generator.manual_seed(how.seed + row)

    def __call__(self, logits: Tensor, rows: list[int]) -> list[int]:
        assert self.drawn
        scores = logits.float().cpu()
        for warp in self.warpers:
            scores = warp(None, scores)
        probabilities = scores.softmax(-1)
        return [
            int(torch.multinomial(one, 1, generator=self.generators[row]))
            for one, row in zip(probabilities, rows)
        ]


def _beam_searched(
    backbone: Any, embeddings: Tensor, mask: Tensor | None, how: Decoding, most: int
) -> list[list[int]]:
    """The ids that `transformers` finds; they may be followed by padding."""
    from transformers import GenerationConfig

    B, L, _ = embeddings.shape
    if mask is None:
        mask = torch.ones(B, L, dtype=torch.bool, device=embeddings.device)
    elif backbone.kind == "causal":
        embeddings, mask = left_padded(embeddings, mask)
    ends = sorted(end_ids(backbone))
    pad = backbone.tokenizer.pad_token_id
    settings = GenerationConfig(
        num_beams=how.beams,
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=ends or None,
        pad_token_id=pad if pad is not None else (ends or [0])[0],
        decoder_start_token_id=backbone.lm.config.decoder_start_token_id
        if backbone.kind != "causal"
        else None,
    )
    found: Tensor = backbone.lm.generate(
        inputs_embeds=embeddings.to(backbone.lm.dtype), attention_mask=mask.long(), generation_config=settings
    )
    rows: list[list[int]] = found[:, 1:].tolist() if backbone.kind == "encoder_decoder" else found.tolist()
    return rows


def _replayed(text: TextPieces, ids: list[int], ends: frozenset[int]) -> str:
    """Put ids that are known already into a text; how it ended."""
    for id in ids:
        text.add(id)
        if id in ends or text.stopped:
            break
    text.finish()
    if text.stopped:
        return "stop"
    return "end" if text.ids and text.ids[-1] in ends else "length"
