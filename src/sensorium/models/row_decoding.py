"""Answers that are written together, each in its own way: rows come and go between tokens.

prompts float[L, D], each with its Decoding ──► join ──► step: a token a row ──► pieces of text ──► rows that end leave
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from sensorium.models.decoding import Chooser, Decoding, DecodingError, end_ids, room_for
from sensorium.models.reading import (
    CausalReader,
    EncoderDecoderReader,
    Reader,
    likeliest_of,
    logits_of,
    with_fewest_moves,
)
from sensorium.models.text_pieces import TextPieces

ALIKE = 0.75  # prompts are read together when the shortest has this share of the longest: padding costs as words do
AT_ONCE = 2048  # positions that are read together; beyond, reading together saves nothing and takes memory


class Row:
    """One answer.

    how:   how its words are chosen; prompt: positions that were read
    text:  what was written, `TextPieces` with its tokens
    ended: "end" (an end token), "stop" (a stop string), "length"; None while it goes on
    """

    def __init__(self, backbone: Any, embeddings: Tensor, how: Decoding) -> None:
        if how.beams > 1:
            raise DecodingError(
                f"beams={how.beams}; rows of a shared batch take the likeliest or drawn tokens: leave beams at 1"
            )
        room = room_for(backbone, embeddings[None])
        self.how, self.prompt = how, len(embeddings)
        self.most = how.max_tokens if room is None else min(how.max_tokens, room)
        self.text = TextPieces(backbone.tokenizer, how.stop)
        self.ended: str | None = None
        self.choose = Chooser(how, 1)

    def write(self, id: int, ends: frozenset[int]) -> str:
        """Put a token behind what was written; the text that can be shown since."""
        piece = self.text.add(id)
        if id in ends:
            self.ended = "end"
        elif len(self.text.ids) == self.most:
            self.ended = "length"
        if self.ended is not None:
            piece += self.text.finish()
        if self.text.stopped:
            self.ended = "stop"
        return piece


class RowDecoder:
    """A batch of rows, each decoded as `decode` would decode it alone.

        rows = RowDecoder(engine)
        rows.join([prompt_a, prompt_b], [Decoding(max_tokens=9), Decoding(temperature=1.0, seed=7)])
        while rows.rows:
            for row, piece in rows.step():
                ...
            rows.join(...)     # whenever somebody comes, if `rows.open`

    A row reads its prompt alone or with others of like length, into the left-padded cache of those that write already
    (continuous batching, Yu et al. 2022, Orca §3). While a prompt is read, the others wait. Rows of an
    encoder-decoder, and of caches with a window, cannot join later: they start together and `open` is False until
    all have ended.
    """

    def __init__(self, backbone: Any) -> None:
        self.backbone, self.ends = backbone, end_ids(backbone)
        self.rows: list[Row] = []
        self._reader: Reader | None = None
        self._chosen: list[int] = []  # tokens of all rows, or of none, which the reader has not read yet

    @property
    def open(self) -> bool:
        """Whether rows may join now."""
        return self._reader is None or self._reader.joins

    def join(self, prompts: Sequence[Tensor], hows: Sequence[Decoding]) -> list[Row | DecodingError]:
        """Prompts float[L, D] -> their rows, which have read but not written anything.

        In the place of a row whose prompt fills the model's context stands the DecodingError.
        """
        assert self.open
        made: list[Row | DecodingError] = []
        for prompt, how in zip(prompts, hows, strict=True):
            try:
                made.append(Row(self.backbone, prompt, how))
            except DecodingError as error:
                made.append(error)
        fresh = [(row, prompt) for row, prompt in zip(made, prompts) if isinstance(row, Row)]
        fresh.sort(key=lambda one: len(one[1]))
        together = list(_alike(fresh)) if self.backbone.kind == "causal" else [fresh] if fresh else []
        for some in together:
            self._read([prompt for _, prompt in some])
            self.rows += [row for row, _ in some]
        return made

    def leave(self, rows: Sequence[Row]) -> None:
        """Rows that are to be written no further; between steps, before others join."""
        self._keep([place for place, row in enumerate(self.rows) if row not in rows])

    def step(self) -> list[tuple[Row, str]]:
        """One token more for every row, and the text that it makes showable; rows that end leave."""
        if self._reader is None:
            return []
        self._catch_up()
        if any(row.choose.drawn for row in self.rows):
            logits = logits_of(self._reader)
            likeliest = logits.argmax(-1).tolist()
            self._chosen = [
                row.choose(logits[place : place + 1], [0])[0] if row.choose.drawn else likeliest[place]
                for place, row in enumerate(self.rows)
            ]
        else:
            self._chosen = likeliest_of(self._reader)
        written = [(row, row.write(id, self.ends)) for row, id in zip(self.rows, self._chosen)]
        self._keep([place for place, row in enumerate(self.rows) if row.ended is None])
        return written

    def _catch_up(self) -> None:
        """Read what was written last, so that more rows may stand beside these or all choose their next token."""
        if self._reader is not None and self._chosen:
            self._reader.read(self._chosen)
            self._chosen = []

    def _read(self, prompts: list[Tensor]) -> None:
        """Prompts float[L, D], whose rows then stand behind those in the reader."""
        self._catch_up()
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        embeddings = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True)
        every = torch.arange(embeddings.shape[1]) < lengths[:, None]
        mask = None if bool(every.all()) else every
        if self._reader is not None:
            self._reader.take_in(embeddings, mask)
            return
        reads = CausalReader if self.backbone.kind == "causal" else EncoderDecoderReader
        self._reader = reads(self.backbone, embeddings, mask, None)

    def _keep(self, places: list[int]) -> None:
        if len(places) == len(self.rows):
            return
        places = with_fewest_moves(places)
        self.rows = [self.rows[place] for place in places]
        self._chosen = [self._chosen[place] for place in places] if self._chosen else []
        if not places:
            self._reader = None
        elif self._reader is not None:
            self._reader.keep(places)


def _alike(rows: list[tuple[Row, Tensor]]) -> Iterator[list[tuple[Row, Tensor]]]:
    """Rows sorted by length, in runs whose shortest is not much shorter than their longest, and that are not long."""
    run: list[tuple[Row, Tensor]] = []
    for one in rows:
        length = len(one[1])
        if run and (len(run[0][1]) < ALIKE * length or (len(run) + 1) * length > AT_ONCE):
            yield run
            run = []
        run.append(one)
    if run:
        yield run
